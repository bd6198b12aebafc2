"""The proof's stages: each runs whatever becomes of the others, a chapter by itself, and where the time went."""

import os
import re
from pathlib import Path

import pytest

from book import proof

REPORT = """<testsuites><testsuite>
<testcase file="chapters/landscape/saddle.ipynb" name="Cell 0" time="12.5" />
<testcase file="chapters/landscape/saddle.ipynb" name="Cell 1" time="20" />
<testcase file="chapters/landscape/valley.ipynb" name="Cell 0" time="30" />
</testsuite></testsuites>"""


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Two notebooks, and a stand-in for Python that notes what it is asked and fails where `asked.fails` says."""

    class Asked(list):
        def __init__(self):
            self.fails = {}

        def python(self, *arguments, **env):
            self.append(" ".join(arguments))
            report = next((one for one in arguments if one.startswith("--junitxml=")), None)
            if report:
                Path(report.removeprefix("--junitxml=")).write_text(REPORT)
            for word, act in self.fails.items():
                if word in self[-1]:
                    return act(env)
            return 0

    asked = Asked()
    for name in ("landscape/saddle", "landscape/valley", "landscape/exercises", "schedules/decay"):
        path = tmp_path / "chapters" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        path.with_suffix(".md").touch()
    monkeypatch.setattr(proof, "ROOT", tmp_path)
    monkeypatch.setattr(proof, "python", asked.python)
    return asked


@pytest.mark.parametrize(
    ("failing", "last"),
    [
        ((), "All stages passed: ruff, site, tests, pages"),
        (("ruff",), "FAILED: ruff"),
        (("nbval", "sphinx"), "FAILED: site, pages"),
    ],
)
def test_no_stage_hides_a_later_one(asked, capsys, failing, last):
    asked.fails = {word: lambda env: 2 for word in failing}
    assert proof.main(["test"]) == int(bool(failing))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == last
    assert sum(re.fullmatch(r"== \w+: (?:ok|FAILED) in [\d.]+ s", line) is not None for line in lines) == 4
    assert "    32.5  landscape/saddle.ipynb  over 30 s" in lines and "    30.0  landscape/valley.ipynb" in lines
    assert "    62.5  landscape/  over 60 s" in lines
    assert "nb_execution_mode=off" in asked[1] and "-b html" in asked[1]
    notebooks = ["landscape/saddle", "landscape/valley", "schedules/decay", "landscape/exercises"]  # long ones first
    assert [word for word in asked[3].split() if word.endswith(".ipynb")] == [f"chapters/{n}.ipynb" for n in notebooks]


def test_a_page_that_asks_for_the_network_fails(asked, capsys):
    def ask(env):
        assert Path(env["PYTHONPATH"].split(os.pathsep)[0]).name == "guard"
        Path(env["SOCKET_GUARD_LOG"]).write_text("chapters/landscape: socket.connect 192.0.2.1\n")
        return 0

    asked.fails = {"nbval": ask}
    assert proof.main(["test"]) == 1
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "FAILED: pages" and "landscape: socket.connect 192.0.2.1" in out


def test_a_chapter_is_proved_by_itself(asked, tmp_path):
    (tmp_path / "tests/landscape").mkdir(parents=True)
    assert proof.main(["test", "landscape"]) == 0
    assert "-b dummy" in asked[1]
    assert "tests/landscape tests/checks" in asked[2] and "-k landscape or" in asked[2]
    assert "schedules/decay" not in asked[3] and "landscape/saddle" in asked[3]
    assert proof.main(["browser", "landscape"]) == 0 and asked[-1].endswith("-k landscape")


@pytest.mark.parametrize("words", [[], ["prove"], ["test", "valleys"], ["test", "landscape", "again"]])
def test_other_words_are_refused(asked, capsys, words):
    assert proof.main(words) == 2 and not asked
    assert "a topic of landscape, schedules" in capsys.readouterr().err
