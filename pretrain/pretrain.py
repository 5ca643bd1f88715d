"""Train the bundled encoder, or one for your own photographs: `python pretrain/pretrain.py --images DIR --out FILE`.

Reading order: this file (the loop), views.py and defects.py (what is shown), objectives.py (what is learned),
network.py (the ViT and its export), energies.py (where it begins), packing.py and drawings.py (the images). README.md
has the measured comparison of methods.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from drawings import draw
from energies import start_from_energies
from lightning_fabric import Fabric
from network import PATCH_PX, Trunk, export, restore
from objectives import DenseContrast, SelfDistillation
from packing import pack_drawings, pack_photos
from torch import Tensor, nn
from views import ViewConfig, draw_views

WARMUP_STEPS = 40
SAMPLE_IMAGES = 400


def parse() -> argparse.Namespace:
    """Read the command line; a resumed run may be given more steps, a later fall of the rate, or larger views."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--images", type=Path, nargs="+", required=True, help="folders or tar files of photographs")
    add("--out", type=Path, required=True, help="the safetensors file to write")
    add(
        "--run-dir",
        type=Path,
        required=True,
        help="state and log; a run found there is resumed. Images are packed beside it",
    )
    add("--method", choices=["dense", "distill"], default="dense")
    add("--drawings", type=int, default=2500, help="generated images to add")
    add("--start", type=Path, help="weights written by an earlier run to begin with, instead of random ones")
    add("--steps", type=int, default=6000)
    add(
        "--batch-views", type=int, default=48, help="views per process and step at the first size; tokens stay the same"
    )
    add("--view-px", type=int, nargs="+", default=[84], help="view sizes, in order")
    add("--view-until", type=int, nargs="+", default=[], help="step at which each view size but the last ends")
    add("--rate", type=float, default=1e-3)
    add("--decay-steps", type=int, default=1500, help="length of the rate's fall to 0 at the end")
    add("--weight-decay", type=float, default=0.05)
    add("--ema", type=float, default=0.995, help="weight of the past in the averaged weights that are written")
    add("--temperature", type=float, default=0.1, help="dense: of the softmax over patches")
    add("--near-patches", type=float, default=1.5, help="dense: places nearer than this are not pushed apart")
    add("--novelty-weight", type=float, default=1.0, help="dense: weight of the loss on the nearest patches")
    add("--mark-weight", type=float, default=0.3, help="dense: weight of the loss that marks defects")
    add("--damaged", type=float, default=0.6, help="dense: share of the views that get a defect")
    add("--global-weight", type=float, default=0.5, help="dense: weight of the class token's loss")
    add("--prototypes", type=int, default=2048, help="distill: outputs of its heads")
    add("--layer-scale", type=float, default=0.1, help="initial LayerScale")
    add("--position-scale", type=float, default=0.05, help="initial size of the position embedding")
    add("--grid", type=int, default=20, help="side of the table of positions; 20 is a 280 px image")
    add("--pack-px", type=int, default=192, help="side of the packed images; at 320, 0.3 MB of memory each and process")
    add(
        "--min-extent",
        type=float,
        nargs="+",
        default=[0.35],
        help="smallest part of an image's side that a view shows: one for all view sizes, or one for each",
    )
    add("--colour", type=float, default=1.0, help="strength of the changes of light and colour")
    add("--seed", type=int, default=0)
    add("--save-every", type=int, default=200)
    add("--log-every", type=int, default=20)
    add("--minutes", type=float, default=math.inf, help="stop, resumably, after this long")
    add("--devices", type=int, default=1, help="processes; on a CPU two with one thread each beat one with two threads")
    add("--precision", default="bf16-mixed")
    args = parser.parse_args()
    if len(args.view_until) != len(args.view_px) - 1:
        parser.error(f"--view-until must have one step fewer than --view-px has sizes, got {args.view_until}. Add one.")
    if len(args.min_extent) not in (1, len(args.view_px)):
        parser.error(f"--min-extent must be one number or one for each of --view-px, got {args.min_extent}. Give one.")
    if args.start is not None and not args.start.is_file():
        parser.error(f"--start must be a file that an earlier run wrote, got {args.start}. Check the path.")
    return args


def rate_at(step: int, args: argparse.Namespace) -> float:
    """Linear rise, constant, linear fall: until its fall begins a run can be prolonged without loss."""
    return args.rate * min(1.0, (step + 1) / WARMUP_STEPS, (args.steps - step) / max(args.decay_steps, 1))


def stage_at(step: int, args: argparse.Namespace) -> int:
    """Which of the view sizes a step has."""
    return sum(step >= until for until in args.view_until)


def optimizers(module: nn.Module, rate: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for all else; one rate goes for both.

    Muon's steps are of AdamW's size; after 200 steps from the same weights the losses were 3 to 6 % lower with it.
    """
    matrices, plain, rest = [], [], []
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            decays = parameter.ndim >= 2 and "pos_embed" not in name and "token" not in name
            in_block = "vit.blocks" in name and parameter.ndim == 2
            (matrices if in_block else plain if decays else rest).append(parameter)
    groups = [{"params": plain, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True),
    ]


class Images:
    """Packed photographs and drawings, on the device."""

    def __init__(self, args: argparse.Namespace, fabric: Fabric) -> None:
        cache = args.run_dir.parent / "cache"
        drawings = cache / f"drawings-{args.pack_px}-{args.drawings}.npy"
        with fabric.rank_zero_first():
            parts = [pack_photos(args.images, cache / f"photos-{args.pack_px}.npy", args.pack_px)]
            if args.drawings:
                parts.append(pack_drawings(draw, args.drawings, drawings, args.pack_px))
        self.parts = [torch.from_numpy(part).to(fabric.device) for part in parts]

    def batch(self, n: int, rng: torch.Generator) -> Tensor:
        """`n` images drawn with replacement, uint8 [n, side, side, 3]; the generator alone decides which."""
        bounds = np.cumsum([0, *map(len, self.parts)]).tolist()
        chosen = torch.randint(0, bounds[-1], (n,), generator=rng)
        drawn = []
        for part, low, high in zip(self.parts, bounds[:-1], bounds[1:], strict=True):
            own = chosen[(chosen >= low) & (chosen < high)] - low
            drawn.append(part[own.to(part.device)])
        return torch.cat(drawn)


def view_config(args: argparse.Namespace, stage: int) -> ViewConfig:
    """The augmentation of one stage; only dense contrast knows what to do with defects."""
    damaged = args.damaged if args.method == "dense" else 0.0
    min_extent = args.min_extent[stage % len(args.min_extent)]
    return ViewConfig(view_px=args.view_px[stage], min_extent=min_extent, colour=args.colour, damaged=damaged)


def build(args: argparse.Namespace, images: Images) -> tuple[Trunk, DenseContrast | SelfDistillation]:
    """The network, started from local energies or from given weights, inside its objective."""
    trunk = Trunk(args.grid, args.layer_scale, args.position_scale)
    if args.start is not None:
        restore(trunk, args.start)
    else:
        rng = torch.Generator().manual_seed(args.seed)
        plain = replace(view_config(args, 0), damaged=0.0)
        sample = draw_views(images.batch(SAMPLE_IMAGES, rng), plain, PATCH_PX, rng)
        start_from_energies(trunk, sample.a.cpu())
    if args.method == "distill":
        return trunk, SelfDistillation(trunk, args.prototypes)
    return trunk, DenseContrast(
        trunk,
        temperature=args.temperature,
        near_patches=args.near_patches,
        novelty_weight=args.novelty_weight,
        mark_weight=args.mark_weight,
        global_weight=args.global_weight,
    )


@torch.no_grad()
def follow(slow: nn.Module, fast: nn.Module, decay: float) -> None:
    """Move the averaged weights towards the trained ones."""
    torch._foreach_lerp_(list(slow.parameters()), list(fast.parameters()), 1 - decay)


class Log:
    """Mean losses and speed, to stderr and log.jsonl, on the first process only."""

    def __init__(self, args: argparse.Namespace, fabric: Fabric, seconds_before: float) -> None:
        self.args, self.fabric, self.seconds_before = args, fabric, seconds_before
        self.began = self.mark = time.monotonic()
        self.totals: dict[str, float] = {}
        self.views = 0

    @property
    def seconds(self) -> float:
        """Time spent on this run, in all its sessions."""
        return self.seconds_before + time.monotonic() - self.began

    def step(self, step: int, values: dict[str, Tensor], views: int) -> None:
        """Take in one step, and write a line when it is due.

        Raises:
            FloatingPointError: If a loss or the gradient is not finite.
        """
        self.views += views * self.fabric.world_size
        for name, value in values.items():
            self.totals[name] = self.totals.get(name, 0.0) + value.item()
        if (step + 1) % self.args.log_every:
            return
        now = time.monotonic()
        row: dict[str, float] = {"step": step + 1, "seconds": round(self.seconds)}
        row["views_per_s"] = round(self.views / (now - self.mark), 1)
        row |= {name: round(total / self.args.log_every, 4) for name, total in self.totals.items()}
        if not all(math.isfinite(value) for value in row.values()):
            raise FloatingPointError(f"losses must be finite, got {row}. Lower --rate.")
        if self.fabric.is_global_zero:
            with (self.args.run_dir / "log.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, file=sys.stderr, flush=True)
        self.totals, self.views, self.mark = {}, 0, now


def train(args: argparse.Namespace, fabric: Fabric) -> None:
    """The loop. Images, views and noise of a step depend on (seed, step, process) alone, so resuming is exact."""
    images = Images(args, fabric)
    trunk, objective = build(args, images)
    ema = fabric.to_device(copy.deepcopy(trunk).requires_grad_(False))
    model, muon, adamw = fabric.setup(objective, *optimizers(objective, args.rate, args.weight_decay))
    progress = {"step": 0, "seconds": 0.0}
    state = {"model": model, "muon": muon, "adamw": adamw, "ema": ema, "progress": progress}
    checkpoint = args.run_dir / "state.ckpt"
    if checkpoint.exists():
        fabric.load(checkpoint, state)
    progress = state["progress"]
    log = Log(args, fabric, progress["seconds"])
    stop_at = time.monotonic() + args.minutes * 60
    for step in range(progress["step"], args.steps):
        rng = torch.Generator().manual_seed((args.seed * 1_000_003 + step) * 64 + fabric.global_rank)
        stage = stage_at(step, args)
        n = max(2, round(args.batch_views / 2 * (args.view_px[0] / args.view_px[stage]) ** 2))
        views = draw_views(images.batch(n, rng), view_config(args, stage), PATCH_PX, rng)
        for group in (*muon.param_groups, *adamw.param_groups):
            group["lr"] = rate_at(step, args)
        losses = model(views, step, rng)
        fabric.backward(sum(losses.values()))
        norm = nn.utils.clip_grad_norm_(objective.parameters(), max_norm=1.0)
        for optimizer in (muon, adamw):
            optimizer.step()
            optimizer.zero_grad()
        objective.after_step(step)
        follow(ema, trunk, min(args.ema, (1 + step) / (10 + step)))
        log.step(step, {**losses, "grad_norm": norm}, 2 * n)
        last = step + 1 == args.steps or fabric.broadcast(time.monotonic() > stop_at)
        if last or (step + 1) % args.save_every == 0:
            progress |= {"step": step + 1, "seconds": log.seconds}
            fabric.save(checkpoint, state)
            if fabric.is_global_zero:
                export(ema, args.run_dir / f"step-{step + 1}.safetensors")
                export(ema, args.out)
        if last:
            break


def main() -> None:
    """Set up the engine and train."""
    args = parse()
    strategy = "ddp" if args.devices > 1 else "auto"
    fabric = Fabric(accelerator="auto", devices=args.devices, strategy=strategy, precision=args.precision)
    fabric.launch()
    fabric.seed_everything(args.seed, verbose=False)
    if fabric.is_global_zero:
        args.run_dir.mkdir(parents=True, exist_ok=True)
        settings = json.dumps(vars(args), default=str, indent=1)
        (args.run_dir / f"settings-{time.strftime('%Y%m%d-%H%M%S')}.json").write_text(settings)
    train(args, fabric)


if __name__ == "__main__":
    main()
