"""The command line: names, exit codes, messages, and that nothing is written on wrong input."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from synthetic_results import make_result, make_spec

from benchmark.cli import COMMANDS, listing, main
from benchmark.cli.options import numbers
from benchmark.engine.launchers.slurm import array_script
from benchmark.results.store import ResultStore

ROOT = Path(__file__).resolve().parents[2]

PLUGIN = '''
"""One method."""
from benchmark import Method, register


@register("my_method")
class MyMethod(Method):
    """A method of one's own."""
'''

SUITE = "dataset: icons\nbackbone: tiny_sup\nmethods:\n  ncm:\n"


def run(*words: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Run another program, which finds this checkout."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment
    return subprocess.run(
        words, input=text, capture_output=True, text=True, env=environment, check=False
    )


# -- wrong input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "files", "message"),
    [
        (["--method", "inflorra"], {}, "unknown method 'inflorra': did you mean 'inflora'?"),
        (["--dataset", "icns"], {}, "unknown data set 'icns': did you mean 'icons'?"),
        (["--backbone", "tiny_sub"], {}, "unknown backbone 'tiny_sub': did you mean 'tiny_sup'?"),
        (["--suite", "icon"], {}, "unknown suite 'icon': did you mean 'icons'?"),
        (["--suite", "s.yaml"], {}, "suite s.yaml: no such file"),
        (
            ["--suite", "s.yaml"],
            {"s.yaml": SUITE + "sedes: 1\n"},
            "s.yaml: sedes: unknown key, did you mean 'seeds'?",
        ),
        (["--set", "training.lrr=1"], {}, "unknown key, did you mean 'lr'?"),
        (["--tasks", "7"], {}, "7 tasks do not divide the 100 classes of letters_small"),
        (["--plugin", "mine.py"], {}, "mine.py: cannot be read as a plug-in file"),
        (
            ["--plugin", "mine.py", "--method", "my_method"],
            {"mine.py": PLUGIN + "\n\nundefined()\n"},
            "mine.py, line 11: cannot be imported: NameError: name 'undefined' is not defined",
        ),
    ],
)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_wrong_input_is_one_message_and_writes_nothing(
    command: str,
    arguments: list[str],
    files: dict[str, str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert main([command, *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.startswith("clbench: ")
    assert "Traceback" not in shown.err
    assert {path.name for path in tmp_path.iterdir()} == set(files)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--seeds", "a"],
        ["run", "--seeds", ","],
        ["run", "--jobs", "0"],
        [],
    ],
)
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: clbench" in capsys.readouterr().err


def test_several_faults_are_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--method", "inflorra", "--tasks", "7", "--set", "training.x=1"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "clbench: 3 errors:"
    assert len(lines) == 4


def test_a_fault_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> dict[str, str]:
        raise ValueError("a bug")

    monkeypatch.setitem(listing._KINDS, "methods", broken)
    with pytest.raises(ValueError, match="a bug"):
        main(["list", "methods"])


def test_an_interruption_says_what_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmark.cli.run.read_request", interrupted)
    assert main(["run"]) == 130
    assert "Finished runs are kept" in capsys.readouterr().err


def test_a_system_error_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["data", "show", "icons", "--out", "file/sheet.png"]) == 2
    assert capsys.readouterr().err.startswith("clbench: error: ")


# -- help and lists ------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_explains_itself_with_an_example(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--help"])
    assert caught.value.code == 0
    assert f"example:\n  clbench {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("methods", {"joint", "ncm", "inflora", "inflora_b5"}),
        ("datasets", {"icons"}),
        ("backbones", {"tiny_sup", "timm:TAG", "file:PATH"}),
        ("suites", {"icons", "icons_full"}),
        ("launchers", {"local", "print", "slurm"}),
    ],
)
def test_lists_name_everything_with_a_line_each(
    kind: str, names: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", kind]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert names <= set(lines)
    assert all(lines.values())


def test_which_methods_can_run_is_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    names = "tiny_sup,random:vit_base_patch16_xp_224"
    assert main(["list", "backbones", "--methods", "--backbone", names]) == 0
    whole, part, *reasons = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"tiny_sup \(.*\): (\d+) of \1 methods", whole)
    assert part.startswith("random:vit_base_patch16_xp_224: ")
    assert any("lae_conv, lae_conv_ties: its ParallelScalingBlocks" in line for line in reasons)
    assert all(re.search(r"^  not [\w, ]+: its ", line) for line in reasons)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("methods --methods", "--methods: "),
        ("backbones --backbone tiny_sup", "--backbone: goes with --methods"),
        ("backbones --methods --backbone tiny_su", "tiny_sup"),
        ("backbones --methods --backbone file:absent.pth", "absent.pth does not exist"),
        ("backbones --methods --backbone random:resnet18", "but a ResNet"),
    ],
)
def test_what_cannot_be_asked_of_a_list(
    words: str, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", *words.split()]) == 2
    assert fault in capsys.readouterr().err


def test_lists_are_quick_and_load_no_torch() -> None:
    code = (
        "import sys; from benchmark.cli import main; [main(['list', k]) for k in sys.argv[1:]]; "
        "sys.exit('torch' in sys.modules or 'timm' in sys.modules)"
    )
    before = os.times()
    done = run(sys.executable, "-c", code, *listing._KINDS)
    after = os.times()
    assert done.returncode == 0
    assert after.children_user - before.children_user < 2  # 0.4 s alone


def test_python_m_benchmark_is_the_command() -> None:
    done = run(sys.executable, "-m", "benchmark", "--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "clbench")
    assert run(sys.executable, "-m", "benchmark", "run", "--suite", "nothing").returncode == 2


def test_a_reader_that_stops_early_is_no_fault() -> None:
    done = run("bash", "-c", f"{sys.executable} -m benchmark list methods | head -n 0")
    assert done.stderr == ""


def test_shells_complete_commands_and_files(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--print-completion", "bash"])
    assert caught.value.code == 0
    script = capsys.readouterr().out
    assert "pretrain" in script
    assert "_shtab_compgen_files" in script
    assert run("bash", "-n", text=script).returncode == 0


# -- launchers -----------------------------------------------------------------------------------


def test_an_array_script_carries_out_the_command_of_its_index(tmp_path: Path) -> None:
    script = tmp_path / "array.sh"
    script.write_text(array_script(["echo 'first one'", "echo second"], tmp_path))
    assert f"#SBATCH --array=0-1\n#SBATCH --output={tmp_path}/%a.log" in script.read_text()
    for index, text in enumerate(["first one", "second"]):
        done = run("bash", str(script), SLURM_ARRAY_TASK_ID=str(index))
        assert done.stdout.strip() == text


def test_a_plugin_may_bring_a_launcher(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(
        '"""One launcher."""\nfrom benchmark.engine.launchers import LAUNCHERS\n\n\n'
        '@LAUNCHERS.register("count")\ndef count(work, results, output):\n'
        '    """Count."""\n    output.say(str(sum(len(one.commands) for one in work)))\n'
    )
    words = ["run", "--method", "ncm", "--tasks", "2", "--seeds", "0,1", "--plugin", "mine.py"]
    assert main([*words, "--launcher", "count"]) == 0
    assert capsys.readouterr().out == "2\n"
    assert main([*words, "--launcher", "prnt"]) == 2
    assert "did you mean 'print'?" in capsys.readouterr().err


# -- replay --------------------------------------------------------------------------------------


def test_replay_names_files_it_cannot_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    assert main(["replay", "missing.npz", "broken.npz"]) == 2
    shown = capsys.readouterr()
    assert "missing.npz" in shown.err
    assert "broken.npz" in shown.err
    assert shown.out == "0 of 2 files within 1e-08\n"


# -- what a shell, a notebook or a pipe does -------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0-4", (0, 1, 2, 3, 4)), ("7", (7,)), ("3,0-1", (3, 0, 1)), ("2-2", (2,)), ("-1", (-1,))],
)
def test_seeds_are_numbers_and_ranges(text: str, seeds: tuple[int, ...]) -> None:
    assert numbers(text) == seeds


@pytest.mark.parametrize("text", ["4-0", "0-", "a-b", "0-99999999", "1.5", ""])
def test_what_is_no_range(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        numbers(text)


@pytest.mark.parametrize(
    "words", [["\x1b[31m"], ["run", "--\x1b[31m"], ["run", "--jobs", "\x9b1m"]]
)
def test_messages_of_the_parser_command_no_terminal(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    shown = capsys.readouterr().err
    assert "\x1b" not in shown and "\x9b" not in shown
    assert "\\x" in shown


@pytest.mark.slow
@pytest.mark.parametrize("words", ["--help", "list methods", "run --help"])
def test_a_reader_that_has_enough_ends_a_command_quietly(words: str) -> None:
    command = f"{sys.executable} -m benchmark {words} | true; exit ${{PIPESTATUS[0]}}"
    done = run("bash", "-c", command)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_empty_results_folder_has_no_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "--results", str(tmp_path)]) == 2
    assert "no finished runs" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_notebook_and_a_users_matplotlibrc_change_no_figure(tmp_path: Path) -> None:
    figures = []
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nbackend: nonsense\n[[garbage\n")
    for odd in (False, True):
        folder = tmp_path / str(odd)
        store = ResultStore(folder)
        for seed in range(2):
            store.write(*make_result(make_spec(seed=seed)))
        extra = {"MPLBACKEND": "module://no.backend", "MATPLOTLIBRC": str(tmp_path)} if odd else {}
        done = run(sys.executable, "-m", "benchmark", "report", "--results", str(folder), **extra)
        assert (done.returncode, done.stderr) == (0, "")
        files = sorted((folder / "report" / "figures").glob("*.svg"))
        figures.append({file.name: file.read_bytes() for file in files})
    assert figures[0] == figures[1] != {}
