"""The line: the built wheel without extras, in an environment where there is no torch."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from muad import evaluate
from muad.bench import PACKAGES

LIMITS = """
[categories.pill_blister]
review = 0.1
reject = 0.2
[categories.printed_board]
review = 0.1
"""


def run_line(python: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """A command in that environment, cut off from everything else."""
    command = [str(python), "-I", *map(str, arguments)]
    environment = {"PATH": os.environ["PATH"], "MPLBACKEND": "agg", "HOME": str(python.parent)}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)


@pytest.fixture(scope="module")
def stored(tiny_run: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was evaluated and has limits."""
    run = Path(shutil.copytree(tiny_run, tmp_path_factory.mktemp("stored") / "run"))
    evaluate(run, tiny_data, device="cpu")
    (run / "limits.toml").write_text(LIMITS, encoding="utf-8")
    return run


def test_there_is_no_torch_and_importing_is_light(python: Path) -> None:
    code = (
        "import sys, importlib.util as u, muad\n"
        f"assert not [name for name in {PACKAGES!r} if u.find_spec(name)]\n"
        "assert 'cv2' not in sys.modules and 'numpy' not in sys.modules\n"
        "print(muad.__version__)"
    )
    done = run_line(python, "-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("train", "--help"), ("predict", "--help")])
def test_help_is_there(python: Path, arguments: tuple[str, ...]) -> None:
    done = run_line(python, "-m", "muad", *arguments)
    assert done.returncode == 0, done.stderr
    assert "muad" in done.stdout


USES = {
    "photographs are read, placed and brought back": """
        from PIL import Image
        from muad.images.preprocessing import Preprocessing
        from muad.images.reading import read_image
        deep = np.linspace(900, 3100, 60 * 90).reshape(60, 90).astype(np.uint16)
        Image.fromarray(deep).save(folder / "deep.png")
        wide = read_image(folder / "deep.png", (900.0, 3100.0))
        assert wide.shape == (60, 90, 3) and wide.min() == 0 and wide.max() == 255
        seen = Preprocessing(resize_px=(32, 32), crop_px=(32, 32), tiles=(2, 3), tile_overlap=0.2, fit="letterbox")
        views = seen.views(wide)
        assert seen.normalise(views).shape == (6, 3, 32, 32)
        back = seen.to_original(views[..., 0].astype(np.float32), (60, 90))
        assert back.shape == (60, 90) and abs(back - wide[..., 0]).mean() < 4
    """,
    "a data set is recognised": """
        from muad import open_catalog
        catalog = open_catalog(data)
        assert catalog.layout == "mvtec" and len(catalog.categories) == 2
    """,
    "stored scores are judged": """
        from muad.decisions.limits import read_limits
        from muad.runs.scores import read_scores
        limits = read_limits(run, ("pill_blister", "printed_board"))
        assert limits.verdict("pill_blister", 0.15) == "review" and limits.verdict("pill_blister", 0.3) == "reject"
        rows = read_scores(run / "evaluation.csv")
        assert {limits.verdict(row.category, row.score) for row in rows} <= {"pass", "review", "reject"}
    """,
    "metrics and calibrated limits": """
        from muad.decisions.conformal import limit_rank, p_values
        from muad.metrics.ranking import rank_metrics
        assert limit_rank(199, 0.005) == 199
        assert p_values(np.array([0.9]), np.array([0.2, 0.3, 0.4])).tolist() == [0.25]
        assert rank_metrics(np.array([False, True]), np.array([0.1, 0.2])).auroc == 1.0
    """,
    "products are told apart": """
        from muad.recognition.appearance import COPIES, Appearance
        from muad.recognition.products import Products
        rng = np.random.default_rng(0)
        def look(centre, count):
            tokens = centre + 0.05 * rng.standard_normal((count, 1 + 16, 8)).astype(np.float32)
            return Appearance.of_tokens(tokens, 1, np.full((count, 32, 32, 3), 60 + 20 * int(centre[0] > 0), np.uint8))
        bolt, nut = np.eye(8, dtype=np.float32)[:2]
        products = Products.learn({"bolt": look(bolt, 12 * COPIES), "nut": look(nut, 12 * COPIES)}, COPIES, 0.02)
        assert [found.nearest for found in products.recognise(look(bolt, 3))] == ["bolt"] * 3
    """,
    "regions and overlays are drawn": """
        from muad.decisions.regions import draw_outlines, find_regions
        from muad.overlays import draw_overlay
        heat = np.zeros((64, 64), np.float32)
        heat[20:30, 10:40] = 1
        (region,) = find_regions(heat, 0.5)
        picture = draw_overlay(np.full((64, 64, 3), 90, np.uint8), heat, (0.2, 1.0))
        assert (draw_outlines(picture, [region]) != 90).any()
    """,
    "the toy factory is drawn": """
        from muad.toy_factory import write_toy_factory
        write_toy_factory(folder / "toy", image_px=64, train_per_category=2, test_normal=1, test_per_defect=1,
                          categories=("pill_blister",))
    """,
}


@pytest.mark.parametrize("use", USES)
def test_the_line_works_without_torch(python: Path, stored: Path, tiny_data: Path, tmp_path: Path, use: str) -> None:
    body = "\n".join(line[8:] for line in USES[use].splitlines())
    head = "import sys\nfrom pathlib import Path\nimport numpy as np\nrun, data, folder = map(Path, sys.argv[1:])\n"
    done = run_line(python, "-c", f"{head}{body}\nassert 'torch' not in sys.modules", stored, tiny_data, tmp_path)
    assert done.returncode == 0, done.stderr


def test_limits_are_shown_and_the_report_is_written(python: Path, stored: Path, tmp_path: Path) -> None:
    shown = run_line(python, "-m", "muad", "limits", stored)
    assert shown.returncode == 0, shown.stderr
    assert "pill_blister" in shown.stdout
    page = tmp_path / "report.html"
    written = run_line(python, "-m", "muad", "report", stored, "--out", page)
    assert written.returncode == 0, written.stderr
    assert "torch must be installed" in page.read_text(encoding="utf-8")


def test_doctor_says_what_there_is_and_what_is_missing(python: Path) -> None:
    done = run_line(python, "-m", "muad", "doctor")
    assert done.returncode == 0, done.stderr
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines["onnxruntime"][0].isdigit()
    assert lines["openvino"] == "not installed"
    assert "pip install 'muad[train]'" in lines["training"]


def test_a_bundle_is_checked_and_judged_without_torch(
    python: Path, patch_bundle: Path, tiny_data: Path, tmp_path: Path
) -> None:
    checked = run_line(python, "-m", "muad", "check-bundle", patch_bundle)
    assert checked.returncode == 0, checked.stderr
    photographs = tiny_data / "pill_blister/test/good"
    judged = run_line(python, "-m", "muad", "predict", patch_bundle, photographs, "--category", "bolt",
                      "--out", tmp_path / "out")  # fmt: skip
    assert judged.returncode == 0, judged.stderr
    assert ",bolt," in (tmp_path / "out/results.csv").read_text(encoding="utf-8")
    code = "import muad, sys; muad.Predictor(sys.argv[1]); assert 'torch' not in sys.modules"
    done = run_line(python, "-c", code, patch_bundle)
    assert done.returncode == 0, done.stderr


COMMANDS = {
    "train": ("train", "DATA", "--out", "OUT"),
    "evaluate": ("evaluate", "RUN", "DATA"),
    "predict": ("predict", "RUN", "DATA", "--out", "OUT"),
    "calibrate": ("calibrate", "RUN", "DATA/pill_blister/test/good"),
    "watch": ("watch", "DATA", "--run", "RUN", "--out", "OUT"),
    "check-data": ("check-data", "DATA"),
    "probe-encoder": ("probe-encoder", "muad-tiny", "DATA"),
    "demo": ("demo", "--out", "OUT"),
    "extend": ("extend", "RUN", "DATA"),
}

LISTS = [("settings",), ("recipes", "list"), ("recipes", "show", "dinomaly-mvtec"), ("cache", "list")]


@pytest.mark.parametrize("words", LISTS, ids=" ".join)
def test_lists_need_no_bench(python: Path, words: tuple[str, ...]) -> None:
    done = run_line(python, "-m", "muad", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("verb", COMMANDS)
def test_what_needs_the_bench_says_what_to_install(
    python: Path, stored: Path, tiny_data: Path, tmp_path: Path, verb: str
) -> None:
    places = {"RUN": str(stored), "DATA": str(tiny_data), "OUT": str(tmp_path / "out")}
    arguments = [
        part.replace("DATA", places["DATA"]) if part.startswith("DATA") else places.get(part, part)
        for part in COMMANDS[verb]
    ]
    done = run_line(python, "-m", "muad", *arguments)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert "pip install 'muad[train]'" in lines[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["train", "check_data", "import_official"])
def test_verbs_in_python_say_it_too(python: Path, verb: str) -> None:
    code = f"""
import muad
try:
    muad.{verb}
except muad.MuadError as error:
    print(error)
"""
    done = run_line(python, "-c", code)
    assert done.returncode == 0, done.stderr
    assert "pip install 'muad[train]'" in done.stdout
