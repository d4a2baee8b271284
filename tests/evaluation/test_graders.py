"""The digest of the graders: grades by another definition of a metric must not be reused."""

import shutil

from gs3d.evaluation import results
from gs3d.evaluation.results import GRADER_FILES, HERE, Graders


def test_digest_changes_with_the_definition_of_a_metric(tmp_path, monkeypatch):
    now = Graders.of(("a red duck",)).digest
    for name in GRADER_FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(HERE / name, tmp_path / name)
    monkeypatch.setattr(results, "HERE", tmp_path)
    assert Graders.of(("a red duck",)).digest == now
    changed = (tmp_path / "grade.py").read_text().replace("slice(5, 8)", "slice(4, 9)")
    (tmp_path / "grade.py").write_text(changed)
    assert Graders.of(("a red duck",)).digest != now
