"""Marks that were given by another definition of a mark are no marks of this one."""

import shutil

from gs3d.evaluation import results
from gs3d.evaluation.results import DECIDE, HERE, Graders


def test_a_changed_definition_of_a_mark_makes_other_graders(tmp_path, monkeypatch):
    now = Graders.of(("a red duck",)).digest
    for name in DECIDE:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(HERE / name, tmp_path / name)
    monkeypatch.setattr(results, "HERE", tmp_path)
    assert Graders.of(("a red duck",)).digest == now
    (tmp_path / "grade.py").write_text(
        (tmp_path / "grade.py").read_text().replace("slice(5, 8)", "slice(4, 9)")
    )
    assert Graders.of(("a red duck",)).digest != now
