"""Tables of an evaluation in a terminal: upright, and as wide as it is."""

from gs3d.cli.tables import upright

TABLES = {
    "Methods": [
        ["method", "kind right %", "Chamfer ×100", "n"],
        ["cds", "93 (88–97)", "6.6 (6.1–7.0)", "24"],
        ["sds", "95 (90–99)", "6.5", "24"],
        ["sds,cfg.start=20", "91", "6.9", "24"],
    ],
    "Kinds": [["kind", "method", "n"], ["cup", "cds", "1"]],
}


def test_methods_are_columns_and_those_that_do_not_fit_follow_below():
    text = upright(TABLES, 45)
    assert max(map(len, text.splitlines())) <= 45 and "cup" not in text
    first, second, more = text.split("\n\n")
    assert more.startswith("Kinds and splits")
    assert first.splitlines()[0].split() == ["method", "cds", "sds"]
    assert second.splitlines()[0].split() == ["method", "sds,cfg.start=20"]
    assert upright({"Methods": [["method", "n"], ["sds,cfg.start=20,cfg.end=12", "24"]]}, 80) == (
        "method  sds,cfg.start=20,\n        cfg.end=12\nn       24"
    )
    tall = [["method", "n"], ["a" * 30, "1"], ["sds,cfg.start=20,cfg.end=12", "24"]]
    assert upright({"Methods": tall}, 40).splitlines()[1].split() == ["n", "1"]
    assert first.splitlines()[2].split() == ["Chamfer", "×100", "6.6", "(6.1–7.0)", "6.5"]
    assert upright(TABLES, 200).count("\n\n") == 1


def test_a_column_that_is_too_wide_stands_alone():
    text = upright({"Methods": TABLES["Methods"]}, 10)
    assert [block.split()[1] for block in text.split("\n\n")] == ["cds", "sds", "sds,cfg.start=20"]
    assert upright({}, 80) == ""
