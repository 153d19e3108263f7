"""minicnn claim: list, run and report, in this process."""

import json

import pytest

from minicnn.claims import NAMES, digest
from minicnn.claims.engine import Experiment, Setup
from tests.claims import planted
from tests.program import caller, document, sentence


@pytest.fixture
def program(monkeypatch, capsys, tmp_path):
    """Call the program in this process, in an empty folder. → (exit code, stdout, stderr)"""
    monkeypatch.chdir(tmp_path)
    return caller(monkeypatch, capsys)


@pytest.fixture
def done(tmp_path, monkeypatch):
    """A planted claim whose trainings are done, in the folder where the program looks for them."""
    monkeypatch.chdir(tmp_path)
    path = planted.write(tmp_path, "TRUE", seeds=4)
    return Experiment(str(path), Setup(workers=-1)), Experiment(str(path), Setup(workers=-1)).run()


def test_the_list_has_every_claim_with_its_hash(program):
    rc, out, _ = program("claim", "list", "--json")
    rows = document(out)
    assert rc == 0
    assert [row["claim"] for row in rows] == list(NAMES)
    assert all(row["sha256"] == digest(row["claim"]) and row["verdicts"] == {} for row in rows)
    assert {row["claim"]: row["trainings"] for row in rows}["dropout"] == 2 * (10 + 2 * 3)
    rc, out, _ = program("claim", "list")
    assert rc == 0
    assert all(name in out for name in NAMES)
    rc, out, _ = program("claim", "list", "--size", "paper")
    assert rc == 0
    assert "--data FOLDER names the pictures" in out


def test_a_claim_is_run_and_shown(program, done):
    experiment, result = done
    rc, out, err = program("claim", "true.py")
    assert (rc, err) == (0, "")
    assert f"holds (4 seeds, rule {result['sha256'][:12]})" in out
    assert "≥ 0.1" in out
    assert "result.json, picture.png" in out
    assert (experiment.folder / "picture.png").stat().st_size > 5000
    rc, out, _ = program("claim", "run", "true.py", "--json")
    told = document(out)
    assert (rc, told["verdict"], told["folder"]) == (0, "holds", str(experiment.folder))
    assert {key: told[key] for key in result} == json.loads(json.dumps(result))


def test_a_remark_says_that_the_environment_changed(program, done):
    experiment, _ = done
    path = experiment.folder / "env.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"numpy": "1.0"}))
    rc, _, err = program("claim", "true.py")
    assert rc == 0
    assert "was computed in another environment (numpy: 1.0, now" in err


@pytest.mark.parametrize(("args", "said"), [
    (("dropuot",), "unknown claim 'dropuot': did you mean 'dropout'?"),
    (("none.py",), "there is no file none.py"),
    (("dropout", "--size", "tiny"), "unknown size 'tiny'"),
    (("dropout", "--seeds", "1"), "seeds (=1) must be from 2 to 900"),
    (("dropout", "--device", "gpu7"), "unknown device"),
    (("report", "--write", "page.txt"), "must end in .md"),
])  # fmt: skip
def test_a_wrong_command_is_one_sentence(program, args, said):
    rc, _, err = program("claim", *args)
    assert said in sentence(err, 2, rc)


def test_a_claim_without_its_data_says_how_to_get_it(program, monkeypatch, tmp_path):
    monkeypatch.setenv("MINICNN_HOME", str(tmp_path / "empty"))
    rc, _, err = program("claim", "lrn")
    assert "`minicnn data get cifar-10` downloads it" in sentence(err, 1, rc)
    rc, _, err = program("claim", "overlap-pool", "--size", "paper")
    assert "by --data FOLDER" in sentence(err, 1, rc)


def test_all_of_them_leaves_out_what_has_no_data(program, monkeypatch):
    monkeypatch.setattr("minicnn.claims.files.NAMES", ("lrn", "degradation"))
    monkeypatch.setenv("MINICNN_HOME", "empty")
    rc, out, err = program("claim", "all", "--json")
    assert (rc, document(out)) == (0, [])
    assert [line.partition(":")[0] for line in err.splitlines()] == ["lrn is left out", "degradation is left out"]
    assert err.count("this claim needs cifar-10, which is not on this machine") == 2


def test_the_report_of_nothing_says_so(program):
    rc, out, _ = program("claim", "report")
    assert rc == 0
    assert out.count("not run yet") == 2 * len(NAMES)
    rc, out, _ = program("claim", "report", "--json")
    assert document(out) == {name: [] for name in NAMES}
