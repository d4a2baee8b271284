"""Scenes of several objects: the file that lists them, and where they go."""

import math
from pathlib import Path

import numpy as np
import plyfile
import pytest
import torch

import gs3d
from gs3d.cli.main import main
from gs3d.compose.parts import by_object
from gs3d.compose.scene_file import Entry, read_scene
from gs3d.compose.together import overlaps, together
from gs3d.core.errors import UserError
from gs3d.core.types import Splats
from gs3d.io import load_splats
from gs3d.io.gltf.container import open_glb
from gs3d.ops.extent import box_of


def box(half, center=(0.0, 0.0, 0.0), count=1000, degree=0, seed=0):
    """Splats in a box of half-extents `half`."""
    rng = torch.Generator().manual_seed(seed)
    means = (2 * torch.rand(count, 3, generator=rng) - 1) * torch.tensor(half)
    return Splats(
        means + torch.tensor(center),
        torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        torch.full((count, 3), 0.01),
        torch.full((count,), 0.9),
        torch.randn(count, (degree + 1) ** 2, 3, generator=rng),
    )


def entry(name, **fields):
    if "stands_on" in fields:
        fields |= {"relation": "stands_on", "other": fields.pop("stands_on")}
    return Entry(name, Path(name), **fields)


def test_object_has_its_size_turn_and_center():
    stick = box((0.5, 0.1, 0.1), center=(30.0, -20.0, 5.0))
    splats, (part,) = together(
        [entry("a", position=(1.0, 2.0, 3.0), size=0.25, turn_deg=90.0)], [stick]
    )
    low, high = box_of(splats.means)
    assert np.allclose((low + high) / 2, (1, 2, 3), atol=0.01)
    # The longest side is now along y, and the radius is about that of its diagonal.
    assert high[1] - low[1] > 4 * (high[0] - low[0])
    assert (splats.means - torch.tensor([1.0, 2.0, 3.0])).norm(dim=1).max() <= 0.27
    assert torch.allclose(splats.scales / stick.scales, splats.scales[0] / stick.scales[0])
    assert np.allclose(part.low, low, atol=1e-4) and np.allclose(part.high, high, atol=1e-4)


def test_object_of_gs3d_keeps_its_size_in_the_unit_sphere():
    mug = box((0.5, 0.5, 0.5))
    splats, _ = together([entry("a", size=1.0)], [mug])
    assert torch.allclose(splats.means, mug.means) and torch.equal(splats.sh, mug.sh)


def test_object_stands_on_the_middle_of_another():
    table, ball = box((0.6, 0.6, 0.2)), box((0.5, 0.5, 0.5), seed=1)
    entries = [
        entry("table", position=(2.0, 0.0, 0.0), size=1.0),
        entry("ball", size=0.2, stands_on="table", position=(0.1, 0.0, 0.0)),
    ]
    _, (under, above) = together(entries, [table, ball])
    assert math.isclose(above.low[2], under.high[2], abs_tol=0.04)
    assert np.allclose((above.low + above.high)[:2] / 2, (2.1, 0.0), atol=0.02)
    assert overlaps([under, above]) == []


def test_object_stands_on_the_lower_step_where_that_is_under_it():
    high, low = box((0.2, 0.2, 0.5), (0, 0, 0.5)), box((0.8, 0.8, 0.1), (0, 0, 0.1), count=4000)
    stairs = Splats.cat([high, low])
    entries = [entry("stairs"), entry("ball", size=0.1, stands_on="stairs", position=(0.5, 0, 0))]
    _, (under, above) = together(entries, [stairs, box((0.5, 0.5, 0.5), seed=1)])
    top_of_step = under.splats.means[1000:, 2].max()
    assert math.isclose(above.low[2], top_of_step, abs_tol=0.02)
    assert above.high[2] < under.high[2]


def test_object_over_a_hole_stands_as_high_as_the_box():
    ring = box((0.6, 0.6, 0.2), count=4000)
    ring = ring[ring.means[:, :2].norm(dim=1) > 0.4]
    _, (under, above) = together(
        [entry("ring"), entry("ball", size=0.1, stands_on="ring")], [ring, box((0.5,) * 3, seed=1)]
    )
    assert math.isclose(above.low[2], under.high[2], abs_tol=1e-6)


@pytest.mark.parametrize(
    ("relation", "axis", "sign"), [("beside", 1, 1), ("in_front_of", 0, 1), ("behind", 0, -1)]
)
def test_object_beside_another_shares_its_ground(relation, axis, sign):
    house, cat = box((0.6, 0.4, 0.5)), box((0.2, 0.3, 0.5), seed=1)
    entries = [
        entry("house", position=(3.0, 2.0, 1.0)),
        entry("cat", size=0.4, relation=relation, other="house"),
    ]
    _, (first, second) = together(entries, [house, cat])
    assert math.isclose(first.low[2], second.low[2], abs_tol=1e-6)
    near, far = (first.high, second.low) if sign > 0 else (second.high, first.low)
    assert 0 < far[axis] - near[axis] < 0.2
    other = 1 - axis
    middles = [(part.low + part.high)[other] / 2 for part in (first, second)]
    assert math.isclose(*middles, abs_tol=1e-6)


def test_nothing_stands_beside_a_round_top():
    table = box((0.6, 0.6, 0.2), count=6000)
    table = table[table.means[:, :2].norm(dim=1) < 0.5]
    entries = [
        entry("table"),
        entry("ball", size=0.05, stands_on="table", position=(0.45, 0.45, 0)),
    ]
    with pytest.raises(UserError, match="nothing of table is at x 0.45, y 0.45"):
        together(entries, [table, box((0.5,) * 3, seed=1)])


def test_nothing_stands_in_the_air():
    entries = [entry("table"), entry("ball", size=0.1, stands_on="table", position=(30.0, 0, 0))]
    with pytest.raises(UserError, match="nothing of table is at x 30.00, y 0.00"):
        together(entries, [box((0.6, 0.6, 0.2)), box((0.5, 0.5, 0.5))])


def test_file_of_its_own_frame_keeps_its_coordinates():
    room = box((4.0, 4.0, 1.0), center=(0.0, 0.0, 0.5))
    splats, _ = together([entry("room", own_frame=True, position=(1.0, 0, 0))], [room])
    assert torch.allclose(splats.means, room.means + torch.tensor([1.0, 0, 0]), atol=1e-5)


def test_rows_of_objects_follow_each_other_with_the_most_harmonics():
    entries = [entry("a", position=(-2.0, 0, 0)), entry("b", position=(2.0, 0, 0))]
    first, second = box((0.5,) * 3, count=10), box((0.5,) * 3, count=20, degree=2)
    splats, parts = together(entries, [first, second])
    assert [len(part.splats) for part in parts] == [10, 20] and splats.sh.shape == (30, 9, 3)
    assert torch.equal(splats.sh[:10, :1], first.sh) and not splats.sh[:10, 1:].any()
    assert torch.equal(splats.sh[10:], second.sh)


def test_objects_in_one_place_are_named():
    entries = [
        entry("cat"),
        entry("house", position=(0.3, 0.0, 0.0)),
        entry("far", position=(5, 0, 0)),
    ]
    _, parts = together(entries, [box((0.5,) * 3, seed=i) for i in range(3)])
    (line,) = overlaps(parts)
    assert line.startswith("cat and house overlap: ")


def write(folder, text):
    (folder / "scene.yaml").write_text(text)
    return folder / "scene.yaml"


def test_scene_file_is_read_with_names_from_files(tmp_path):
    path = write(
        tmp_path,
        "objects:\n"
        "  - {file: runs/a-green-table-s0, size: 0.8}\n"
        "  - {file: ball.compressed.ply, stands_on: a-green-table-s0, position: [0.2, 0, 0]}\n"
        "  - {file: ball.compressed.ply, name: second, turn_deg: -30}\n",
    )
    table, ball, second = read_scene(path).entries
    assert (table.file, table.name) == (tmp_path / "runs/a-green-table-s0", "a-green-table-s0")
    assert (ball.name, ball.other, ball.position) == (
        "ball",
        "a-green-table-s0",
        (0.2, 0.0, 0.0),
    )
    assert (second.name, second.turn_deg, second.size) == ("second", -30.0, 1.0)
    path.write_text("objects: [{file: cake-0.5.ply}, {file: cake-0.7.ply}]")
    assert [read.name for read in read_scene(path).entries] == ["cake-0.5", "cake-0.7"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected `objects:` with a list of objects"),
        ("objects: []", "expected `objects:` with a list of objects"),
        ("objects: [{file: a.ply}]\nsky: blue", "and nothing else"),
        ("objects: {", "scene.yaml: while parsing"),
        ("objects: [a.ply]", "object 1: expected `file:`"),
        ("objects: [{fil: a.ply}]", "object 1: expected `file:`"),
        ("objects: [{file: a.ply, sise: 2}]", "got 'sise'; did you mean 'size'"),
        ("objects: [{file: a.ply, size: 0}]", "size: expected a number above 0"),
        ("objects: [{file: a.ply, size: .inf}]", "size: expected a number above 0"),
        ("objects: [{file: a.ply, size: true}]", "size: expected a number above 0"),
        ("objects: [{file: a.ply, size: " + 400 * "9" + "}]", "size: expected a number above 0"),
        ("objects: [{file: a.ply, stands_on: [a]}]", "an earlier object (none), got ['a']"),
        ("objects: [{file: a.ply, name: [a]}]", "expected a `name:` of its own, got ['a']"),
        ("objects: [{file: a.ply, own_frame: 1}]", "own_frame: expected true or false, got 1"),
        ("objects: [{file: a.ply, turn_deg: left}]", "turn_deg: expected a number, got 'left'"),
        ("objects: [{file: a.ply, position: [0, 0]}]", "position: expected three numbers"),
        ("objects: [{file: a.ply, position: [0, 0, 1.0e+9]}]", "from −1000 to 1000"),
        ("objects: [{file: a.ply}, {file: b/a.ply}]", "object 2: expected a `name:` of its own"),
        ("objects: [{file: a.ply, prompt: a cat}]", "object 1: expected `file:`"),
        ("objects: [{prompt: 3}]", "object 1: expected `file:`"),
        ("objects: [{prompt: ''}]", "object 1: "),
        ("prompt: 3\nobjects: [{prompt: a cat}]", "scene.yaml: prompt: expected a text, got 3"),
        ("objects: [{prompt: a cat, name: ../cat}]", "name: becomes a folder"),
        ('objects: [{prompt: a cat, name: "a\\0b"}]', "name: becomes a folder"),
        ("objects: [{prompt: a cat, name: " + 300 * "a" + "}]", "name: becomes a folder"),
        ("objects: [{prompt: a cat, name: together-1}]", "no 'together' at the beginning"),
        ("objects: [{prompt: a cat, own_frame: true}]", "own_frame: is for files"),
        (
            "objects: [{file: a.ply}, {prompt: a cat, beside: a, behind: a}]",
            "expected one of stands_on, beside, in_front_of, behind, got 2",
        ),
        (
            "objects: [{file: a.ply, stands_on: b}, {file: b.ply}]",
            "expected an earlier object (none)",
        ),
        ("objects: [" + "{file: a.ply}, " * 101 + "]", "expected at most 100 objects, got 101"),
    ],
)
def test_invalid_scene_file_is_one_line(tmp_path, text, message):
    with pytest.raises(UserError) as error:
        read_scene(write(tmp_path, text))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_command_writes_one_file_of_any_format(tmp_path, capsys):
    gs3d.Scene(box((0.6, 0.6, 0.2))).save(tmp_path / "table.ply")
    gs3d.Scene(box((0.5, 0.5, 0.5), count=500)).save(tmp_path / "ball.spz")
    path = write(
        tmp_path,
        "objects:\n  - file: table.ply\n  - {file: ball.spz, size: 0.3, stands_on: table}\n",
    )
    assert main(["compose", str(path)]) == 0
    out = capsys.readouterr().out
    assert "table                        1000 splats" in out and "ball" in out
    assert len(gs3d.load(tmp_path / "scene.ply")) == 1500
    assert main(["compose", str(path), "-o", str(tmp_path / "scene.glb")]) == 0
    assert len(gs3d.load(tmp_path / "scene.glb")) == 1500


def test_files_name_the_objects(tmp_path):
    gs3d.Scene(box((0.6, 0.6, 0.2))).save(tmp_path / "table.ply")
    gs3d.Scene(box((0.5, 0.5, 0.5), count=500)).save(tmp_path / "ball.spz")
    ball = '{file: ball.spz, name: "röd\\nboll", position: [3, 0, 0]}'
    path = write(tmp_path, f"objects: [{{file: table.ply}}, {ball}]")
    for suffix in (".ply", ".glb"):
        assert main(["compose", str(path), "-o", str(tmp_path / f"a{suffix}")]) == 0
    file = plyfile.PlyData.read(tmp_path / "a.ply")
    assert np.bincount(file["vertex"]["object"]).tolist() == [1000, 500]
    assert file.comments[1:] == ["object 0 table", r"object 1 r\xf6d boll"]
    tree = open_glb(tmp_path / "a.glb").tree
    assert [node["name"] for node in tree["nodes"]] == ["table", "röd\nboll"]
    positions = [mesh["primitives"][0]["attributes"]["POSITION"] for mesh in tree["meshes"]]
    assert [tree["accessors"][i]["count"] for i in positions] == [1000, 500]
    assert all("max" in tree["accessors"][i] for i in positions)
    first, second = load_splats(tmp_path / "a.ply"), load_splats(tmp_path / "a.glb")
    assert torch.allclose(first.means, second.means, atol=1e-6)
    assert torch.allclose(first.sh, second.sh, atol=1e-6)


def test_splats_belong_to_the_object_that_was_nearest():
    left, right = box((0.3,) * 3, center=(0, -1, 0)), box((0.3,) * 3, center=(0, 1, 0), seed=1)
    mixed = Splats.cat([right, left, right])
    splats, counts = by_object(mixed, [left, right])
    assert counts == [1000, 2000]
    assert (splats.means[:1000, 1] < 0).all() and (splats.means[1000:, 1] > 0).all()
    assert by_object(left, [left, right])[1] == [1000, 0]


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.ply", "none.ply"), (".", "expected a splat file"), ("scene.yaml", "")],
)
def test_command_names_what_it_cannot_read(tmp_path, capsys, name, message):
    path = write(tmp_path, f"objects: [{{file: {name}, name: a}}]")
    assert main(["compose", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert main(["compose", str(tmp_path / "missing.yaml")]) == 2


def test_command_does_not_overwrite_an_object(tmp_path, capsys):
    gs3d.Scene(box((0.5,) * 3)).save(tmp_path / "a.ply")
    gs3d.Scene(box((0.5,) * 3)).save(tmp_path / "b.ply")
    path = write(tmp_path, "objects: [{file: a.ply}, {file: b.ply, position: [3, 0, 0]}]")
    assert main(["compose", str(path), "-o", str(tmp_path / "b.ply")]) == 2
    assert "b.ply" in capsys.readouterr().err
