"""`gs3d evaluate` with losses of files, starts, LoRAs and options of the hardware."""

import json

import pytest
import yaml

from gs3d.io import save_splats
from tests.cli.commands import one_line_fault, run
from tests.guidance.test_loss_file import MINE
from tests.io.splats.samples import random_splats
from tests.sweeps import use_quick_sweeps

SMALL = """
cameras: {resolution_px: {at: [0.0], values: [16]}}
gaussians: {count: 100}
densify: {rounds: 1}
"""


@pytest.fixture
def evaluate(capsys, tiny_builtin_folder, tmp_path, monkeypatch):
    """Evaluate one prompt with the given options: the lines that it prints."""
    use_quick_sweeps(monkeypatch)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("a red duck\n")
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "mine.py").write_text(MINE)
    begin = ["evaluate", "list.txt", "--out", "out", "--config", "small.yaml"]
    begin += ["--prior", str(tiny_builtin_folder)]

    def evaluate(*options: str, steps: int = 1, status: int = 0) -> str:
        ended, out, err = run(capsys, *begin, "--steps", str(steps), *options)
        assert ended == status, out + err
        return out

    evaluate.fault = lambda *options: one_line_fault(capsys, *begin, "--steps", "1", *options)
    return evaluate


def records(tmp_path) -> dict[str, dict]:
    """run.yaml of each run by the name of its method."""
    found = {}
    for file in (tmp_path / "out").glob("runs/*/*/finished.json"):
        name = json.loads(file.read_text())["method"]
        found[name] = yaml.safe_load(file.with_name("run.yaml").read_text())
    return found


def test_loss_of_a_file_is_a_method(evaluate, tmp_path):
    methods = ("--methods", "mine.py:Mine", "mine.py:Mine,scale=3,batch=2", "sds")
    assert "runs to make: 3 of 3" in evaluate(*methods)
    found = records(tmp_path)
    one, three = found["mine.py:Mine"], found["mine.py:Mine,scale=3,batch=2"]
    assert one["config"]["losses"] == {"Mine": {"scale": 2.0, "kind": "a"}}
    assert three["config"]["losses"]["Mine"]["scale"] == 3 and three["config"]["batch"] == 2
    assert one["guidance_file"]["file"].startswith(str(tmp_path / "out" / "methods" / "mine-"))
    assert "guidance_file" not in found["sds"]

    # Only another code makes the runs again.
    (tmp_path / "mine.py").write_text(MINE + "\n# more words\n")
    assert "runs to make: 0 of 3" in evaluate(*methods)
    (tmp_path / "mine.py").write_text(MINE.replace("2.0", "2.5"))
    text = evaluate(*methods)
    assert "runs to make: 2 of 3, 1 are there" in text
    assert "2 of them are there with other settings or other code of the loss" in text
    assert records(tmp_path)["mine.py:Mine"]["config"]["losses"]["Mine"]["scale"] == 2.5

    tables = json.loads((tmp_path / "out" / "evaluation.json").read_text())["summary"]
    assert set(tables) == {*found}


def test_a_method_without_a_result_is_named_and_so_is_its_file(evaluate, tmp_path):
    broken = MINE.replace("class Mine", "class Broken").replace("self.scale *", "self.scal *")
    (tmp_path / "broken.py").write_text(broken)
    text = evaluate("--methods", "broken.py:Broken", "sds", status=1)
    (failed,) = [line for line in text.splitlines() if line.startswith("failed: ")]
    assert "broken.py line 12: Attrib" in failed and "out/methods/" not in failed
    assert "broken.py:Broken: has no row in the tables" in text and "\nsds: has" not in text


@pytest.mark.thorough
def test_runs_with_and_without_a_start(evaluate, tmp_path):
    save_splats(tmp_path / "there.ply", random_splats(200, 0))
    methods = ("--methods", "sds", "sds,start=there.ply")
    evaluate(*methods)
    found = records(tmp_path)
    assert "start" not in found["sds"]
    assert found["sds,start=there.ply"]["start"] == "there.ply"
    assert found["sds,start=there.ply"]["result"]["splats"] == 200
    assert "runs to make: 0 of 2" in evaluate(*methods)
    # Another content of the file is another start.
    save_splats(tmp_path / "there.ply", random_splats(150, 1))
    assert "runs to make: 1 of 2, 1 are there" in evaluate(*methods)
    # One start for all; a method may have none.
    for_all = ("--start", "there.ply", "--methods", "sds", "sds,start=null")
    expected = "results with no start, not start there.ply; choose another --out"
    assert expected in evaluate.fault(*for_all)
    assert "runs to make: 2 of 2" in evaluate(*for_all, "--out", "all")
    all_runs = [yaml.safe_load(f.read_text()) for f in (tmp_path / "all").glob("runs/*/*/run.yaml")]
    assert {r.get("start") for r in all_runs} == {None, "there.ply"}
    settings = json.loads((tmp_path / "all" / "evaluation.json").read_text())["settings"]
    assert settings["start"] == "there.ply" and "lora" not in settings


def test_a_start_that_is_not_there_names_its_method(evaluate):
    message = evaluate.fault("--methods", "sds", "sds,start=bultin")
    assert "--methods sds,start=bultin: --start bultin" in message
    assert "--methods" not in evaluate.fault("--methods", "sds", "--start", "bultin")


def test_runs_that_start_from_the_builtin_prior(evaluate, tmp_path):
    evaluate("--methods", "sds,start=builtin", "--device", "cpu", "--raster", "cpu")
    record = records(tmp_path)["sds,start=builtin"]
    (folder,) = (tmp_path / "out" / "runs").glob("*/*")
    assert record["start"] == "builtin" and (folder / "start" / "splats.ply").exists()
    assert (record["hardware"]["device"], record["hardware"]["raster_device"]) == ("cpu", "cpu")


@pytest.mark.thorough
def test_lora_of_a_method(evaluate, tmp_path, tiny_sd_folder):
    pytest.importorskip("peft")
    from gs3d.priors import load
    from tests.priors.files.adapters import layers_of, random_pairs, write_diffusers

    pairs = random_pairs(layers_of(load(tiny_sd_folder, "cpu")))
    write_diffusers(tmp_path / "one.safetensors", pairs)
    options = ("--prior", str(tiny_sd_folder), "--methods", "cds", "cds,lora=one.safetensors:0.5")
    evaluate(*options)
    found = records(tmp_path)
    assert "lora" not in found["cds"]["prior"]
    (lora,) = found["cds,lora=one.safetensors:0.5"]["prior"]["lora"]
    assert (lora["name"], lora["weight"]) == ("one.safetensors", 0.5)
    assert "runs to make: 0 of 2" in evaluate(*options)
    twice = ("--lora", "one.safetensors:0.5", "--lora", "one.safetensors:0.2")
    evaluate(*options[:2], *twice, "--methods", "cds", "--out", "all")
    (file,) = (tmp_path / "all").glob("runs/*/*/run.yaml")
    assert [lora["weight"] for lora in yaml.safe_load(file.read_text())["prior"]["lora"]] == [
        0.5,
        0.2,
    ]


@pytest.mark.parametrize(
    "options, expected",
    [
        (["--methods", "none.py:Mine"], "--methods none.py:Mine: "),
        (["--methods", "mine.py:Mime,scale=3"], "which has none; did you mean 'Mine'?"),
        (["--methods", "mine.py:Mine,scal=3"], "unknown setting 'scal'; did you mean"),
        (["--methods", "mine.py:Mine,scale=x"], "expected a number, got 'x'"),
        (["--methods", "mine.py"], "unknown loss 'mine.py'; expected one of cds, "),
        (["--methods", "cds,start="], "--methods: start=: expected a value as of --start"),
        (["--methods", "cds,start"], "expected PATH=VALUE"),
        (["--methods", "cds,start=none.ply"], "--start none.ply: there is no such file or folder"),
        (["--start", "BUILTIN"], "no such file or folder; did you mean 'builtin'?"),
        (["--start", "shape"], "no such file or folder; did you mean 'shap-e'?"),
        (["--start", ""], "--start: expected a path, got ''"),
        (["--lora", "none.safetensors"], "--lora none.safetensors"),
        (["--vram", "9"], "--vram: expected auto or 8 or 12 or 16 or 24, got '9'; take 8"),
        (["--raster", "gpu"], "--raster: expected auto or gsplat or cpu, got 'gpu'"),
        (["--raster", "gsplat", "--device", "cpu"], "--raster gsplat: needs CUDA"),
        (["--device", "gpu"], "--device gpu: expected auto, cpu, cuda, cuda:N, mps or xpu"),
    ],
)
def test_faults_are_found_before_any_run(evaluate, tmp_path, options, expected):
    assert expected in evaluate.fault(*options)
    assert not (tmp_path / "out").exists()


def test_each_prompt_is_checked_for_the_builtin_start(evaluate, tmp_path, tiny_clip_folder):
    (tmp_path / "list.txt").write_text("a red duck\na corgi\n")
    options = ("--scorer", str(tiny_clip_folder), "--methods", "cds,start=builtin")
    assert "--start builtin: 'a corgi' names no kind of object" in evaluate.fault(*options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [["--start", "x"], ["--lora", "x"], ["--vram", "8"], ["--raster", "cpu"], ["--device", "cpu"]],
)
def test_options_of_runs_are_refused_with_existing_runs(capsys, options):
    message = one_line_fault(capsys, "evaluate", "--from", "nowhere", *options)
    assert f"{options[0]}: applies to new runs" in message
