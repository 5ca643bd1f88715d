"""The compared systems by the authors' own code: one training step, and one image from tensor to map and score.

Everything here is called from their checkouts (`authors_imports`); nothing of it is in this project. A function per
system builds the network at its published size with random weights and gives what can be timed, by name.
"""

from __future__ import annotations

import importlib
import random
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from authors_imports import prepare, random_weights, reference_scan
from torch import Tensor, nn

Timed = dict[str, Callable[[], object]]
STEP, IMAGE = "training step", "image"
MODULE = "decoder module, forward and backward"  # of MambaAD: a whole step by the reference scan takes many minutes


def rd4ad(code: Path, images: Tensor) -> Timed:
    """`main.py` and `test.py`."""
    prepare(code, "RD4AD")
    resnet, mirrored, main, test = map(importlib.import_module, ("resnet", "de_resnet", "main", "test"))
    encoder, bottleneck = resnet.wide_resnet50_2(pretrained=False)
    decoder = mirrored.de_wide_resnet50_2(pretrained=False)
    encoder.eval()
    optimizer = torch.optim.Adam([*decoder.parameters(), *bottleneck.parameters()], lr=0.005, betas=(0.5, 0.999))

    def loss() -> Tensor:
        bottleneck.train(), decoder.train()
        encoded = encoder(images)
        return main.loss_fucntion(encoded, decoder(bottleneck(encoded)))

    @torch.no_grad()
    def judge() -> object:
        bottleneck.eval(), decoder.eval()
        encoded = encoder(images[:1])
        found, _ = test.cal_anomaly_map(encoded, decoder(bottleneck(encoded)), images.shape[-1], amap_mode="a")
        found = test.gaussian_filter(found, sigma=4)
        return found, found.max()

    return {STEP: partial(_step, loss, optimizer), IMAGE: judge}


def recontrast(code: Path, images: Tensor) -> Timed:
    """`recontrast_mvtec_multiclass.py`, at the end of the ramp of its loss."""
    import copy

    prepare(code, "ReContrast")
    resnet, mirrored = map(importlib.import_module, ("models.resnet", "models.de_resnet"))
    recontrast, utils = map(importlib.import_module, ("models.recontrast", "utils"))
    encoder, bottleneck = resnet.wide_resnet50_2(pretrained=False)
    decoder = mirrored.de_wide_resnet50_2(pretrained=False, output_conv=2)
    utils.replace_layers(decoder, nn.ReLU, nn.GELU())
    model = recontrast.ReContrast(encoder, copy.deepcopy(encoder), bottleneck, decoder)
    groups = [
        {"params": decoder.parameters()},
        {"params": bottleneck.parameters()},
        {"params": encoder.parameters(), "lr": 1e-5},
    ]
    optimizer = torch.optim.AdamW(groups, lr=2e-3, weight_decay=1e-5, eps=1e-10, amsgrad=True)
    kernel = utils.get_gaussian_kernel(kernel_size=5, sigma=4)

    def loss() -> Tensor:
        model.train(encoder_bn_train=False)
        encoded, decoded = model(images)
        halves = (slice(None, 3), slice(3, None))
        return sum(utils.global_cosine_hm(encoded[h], decoded[h], alpha=1.0, factor=0.0) / 2 for h in halves)

    @torch.no_grad()
    def judge() -> object:
        model.eval()
        maps, _ = utils.cal_anomaly_maps(*model(images[:1]), images.shape[-1])
        return _top(kernel(maps))

    return {STEP: partial(_step, loss, optimizer), IMAGE: judge}


def simplenet(code: Path, images: Tensor) -> Timed:
    """`SimpleNet` with the settings of `run.sh`; the encoder is run at every step."""
    prepare(code, "SimpleNet")
    resnet, simplenet = map(importlib.import_module, ("resnet", "simplenet"))
    net = simplenet.SimpleNet(torch.device("cpu"))
    net.load(
        resnet.wide_resnet50_2(False), ["layer2", "layer3"], torch.device("cpu"), tuple(images.shape[1:]), 1536, 1536,
        gan_epochs=1, noise_std=0.015, dsc_layers=2, dsc_hidden=1024, dsc_margin=0.5, pre_proj=1, meta_epochs=40,
    )  # fmt: skip
    silent = Namespace(add_scalar=lambda *_: None)
    net.logger = Namespace(logger=silent, g_iter=0, step=lambda: None)
    return {
        STEP: lambda: net._train_discriminator([{"image": images}]),
        IMAGE: lambda: net._predict(images[:1]),
    }


def destseg(code: Path, images: Tensor) -> Timed:
    """`train.py` from images that are damaged already, and `eval.py`."""
    prepare(code, "ml-destseg")
    with random_weights():
        model = importlib.import_module("model.destseg").DeSTSeg(dest=True, ed=True)
    losses = importlib.import_module("model.losses")
    head = model.segmentation_net
    groups = [{"params": head.res.parameters(), "lr": 0.1}, {"params": head.head.parameters(), "lr": 0.01}]
    segmenter = torch.optim.SGD(groups, lr=0.001, momentum=0.9, weight_decay=1e-4)
    student = torch.optim.SGD(model.student_net.parameters(), lr=0.4, momentum=0.9, weight_decay=1e-4)
    clean, masks = images.flip(0), half_masks(images)

    def loss(*, of_student: bool) -> Tensor:
        model.student_net.train(of_student)
        head.train(not of_student)
        found, _, distances = model(images, clean)
        truth = F.interpolate(masks, size=found.shape[2:], mode="bilinear", align_corners=False)
        truth = (truth >= 0.5).float()
        cosine, focal = losses.cosine_similarity_loss(distances), losses.focal_loss(found, truth, gamma=4)
        absolute = losses.l1_loss(found, truth)
        return cosine if of_student else focal + absolute

    @torch.no_grad()
    def judge() -> object:
        model.eval()
        found, _, _ = model(images[:1])
        found = F.interpolate(found, size=images.shape[2:], mode="bilinear", align_corners=False)
        return found, found.flatten(1).sort(dim=1, descending=True)[0][:, :100].mean(1)

    return {
        f"{STEP}, student": partial(_step, partial(loss, of_student=True), student),
        f"{STEP}, segmenter": partial(_step, partial(loss, of_student=False), segmenter),
        IMAGE: judge,
    }


def patchcore(code: Path, images: Tensor) -> Timed:
    """`PatchCore` with the sampler and the search that its commands take; a tenth of the patches is remembered."""
    prepare(code, "patchcore-inspection/src")
    from torchvision.models import wide_resnet50_2

    parts = ("patchcore.patchcore", "patchcore.sampler", "patchcore.common")
    patchcore, sampler, common = map(importlib.import_module, parts)
    net = patchcore.PatchCore(torch.device("cpu"))
    net.load(
        wide_resnet50_2(weights=None), ["layer2", "layer3"], torch.device("cpu"), tuple(images.shape[1:]), 1024, 1024,
        featuresampler=sampler.ApproximateGreedyCoresetSampler(0.1, torch.device("cpu")),
        nn_method=common.FaissNN(False, torch.get_num_threads()),
    )  # fmt: skip
    return {"fit": lambda: net.fit(images.split(2)), IMAGE: lambda: net._predict(images[:1])}


def uniad(code: Path, images: Tensor) -> Timed:
    """`ModelHelper` with `config.yaml`, its criterion and its clipping."""
    import yaml

    prepare(code, "UniAD")
    helper = importlib.import_module("models.model_helper")
    criterion = importlib.import_module("utils.criterion_helper").FeatureMSELoss(weight=1.0)
    settings = yaml.safe_load((code / "UniAD/experiments/MVTec-AD/config.yaml").read_text(encoding="utf-8"))
    backbone, _, restorer = (part["kwargs"] for part in settings["net"])
    backbone.update(pretrained=False, outblocks=[1, 5, 9, 21], outstrides=[2, 4, 8, 16])
    backbone.pop("outlayers")
    settings["net"][1]["kwargs"]["outplanes"] = [272]
    restorer["feature_size"] = [side // 16 for side in images.shape[2:]]
    restorer["save_recon"] = None
    restorer["feature_jitter"] = Namespace(**restorer["feature_jitter"])
    restorer["neighbor_mask"] = Namespace(**restorer["neighbor_mask"])
    model = helper.ModelHelper(settings["net"])
    model.cpu()
    optimizer = torch.optim.AdamW(model.reconstruction.parameters(), lr=1e-4, weight_decay=1e-4)

    def loss() -> Tensor:
        model.train()
        return criterion(model({"image": images}))

    @torch.no_grad()
    def judge() -> object:
        model.eval()
        found = model({"image": images[:1]})["pred"]
        return found, F.avg_pool2d(found, (16, 16), stride=1).amax()

    return {STEP: partial(_step, loss, optimizer, clip=0.1, of=model), IMAGE: judge}


def vitad(code: Path, images: Tensor) -> Timed:
    """`model/vitad.py` of the authors' benchmark ADer, its loss, its map."""
    prepare(code, "ADer")
    importlib.import_module("model.vitad")
    shape = {"pretrained": False, "checkpoint_path": "", "strict": True, "img_size": images.shape[-1]}
    teacher = _asked("vit_small_patch16_224_dino", **shape, teachers=[3, 6, 9], neck=[12])
    fusion = _asked("fusion", pretrained=False, checkpoint_path="", strict=False, dim=384, mul=1)
    student = _asked("de_vit_small_patch16_224_dino", **shape, students=[3, 6, 9], depth=9)
    model = importlib.import_module("model.vitad").ViTAD(teacher, fusion, student)
    cosine = importlib.import_module("loss.base_loss").CosLoss(avg=False, lam=1.0)
    return _in_ader(model, cosine, images, lr=1e-4, pool_px=16)


def mambaad(code: Path, images: Tensor) -> Timed:
    """`model/mambaad.py` with the reference scan, ADer's loss and map."""
    reference_scan(code)
    prepare(code, "MambaAD", "ADer")
    importlib.import_module("model").__path__.append(str(code / "ADer" / "model"))
    registry = importlib.import_module("model")
    import timm

    registry.MODEL.register_module(timm.create_model, "timm_create_model")
    kwargs = {"model_name": "resnet34", "features_only": True, "out_indices": [1, 2, 3]}
    teacher = _asked("timm_create_model", pretrained=False, checkpoint_path=None, strict=False, **kwargs)
    student = {"depths_decoder": [3, 4, 6, 3], "scan_type": "hilbert", "num_direction": 8}
    model = importlib.import_module("model.mambaad").MAMBAAD(teacher, student)
    squared = importlib.import_module("loss.base_loss").L2Loss(lam=5.0)
    judge = _in_ader(model, squared, images, lr=5e-3, pool_px=0)[IMAGE]
    module, tokens = model.net_s.layers_up[0].blocks[0], scanned_tokens()
    module.train()
    return {MODULE: lambda: module(tokens).square().mean().backward(), IMAGE: judge}


def _asked(model: str, **settings: Any) -> Namespace:
    return Namespace(name=model, kwargs=settings)


def _in_ader(model: Any, loss_of: Any, images: Tensor, *, lr: float, pool_px: int) -> Timed:
    """A step and an image as the trainers of ADer take them."""
    metric = importlib.import_module("util.metric")
    learning = [parameter for name, parameter in model.named_parameters() if not name.startswith("net_t.")]
    learning = [parameter for parameter in learning if parameter.is_floating_point()]
    groups = [
        {"params": [parameter for parameter in learning if parameter.dim() > 1]},
        {"params": [parameter for parameter in learning if parameter.dim() <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr, weight_decay=1e-4)

    def loss() -> Tensor:
        model.train()
        return loss_of(*model(images))

    @torch.no_grad()
    def judge() -> object:
        model.eval()
        maps, _ = metric.Evaluator.cal_anomaly_map(
            *model(images[:1]), [*images.shape[2:]], uni_am=False, amap_mode="add", gaussian_sigma=4
        )
        pooled = F.avg_pool2d(torch.tensor(maps)[:, None], pool_px, stride=1) if pool_px else torch.tensor(maps)
        return maps, pooled.amax()

    return {STEP: partial(_step, loss, optimizer, clip=5.0, of=model), IMAGE: judge}


def dinomaly(code: Path, images: Tensor) -> Timed:
    """`dinomaly_mvtec_uni.py`, at the end of the ramp of its loss."""
    prepare(code, "Dinomaly")
    networks, uad, utils = map(importlib.import_module, ("dinov2.models.vision_transformer", "models.uad", "utils"))
    blocks, optimizers = map(importlib.import_module, ("models.vision_transformer", "optimizers"))
    encoder = networks.vit_base(
        patch_size=14, img_size=518, block_chunks=0, init_values=1e-8, num_register_tokens=4,
        interpolate_antialias=False, interpolate_offset=0.1,
    )  # fmt: skip
    norm = partial(nn.LayerNorm, eps=1e-8)
    bottleneck = nn.ModuleList([blocks.bMlp(768, 4 * 768, 768, drop=0.2)])
    decoder = nn.ModuleList(
        blocks.Block(768, 12, mlp_ratio=4.0, qkv_bias=True, norm_layer=norm, attn=blocks.LinearAttention2)
        for _ in range(8)
    )
    halves = [[0, 1, 2, 3], [4, 5, 6, 7]]
    model = uad.ViTill(encoder, bottleneck, decoder, [*range(2, 10)], halves, halves)
    learning = [*bottleneck.parameters(), *decoder.parameters()]
    optimizer = optimizers.StableAdamW(
        [{"params": learning}], lr=2e-3, betas=(0.9, 0.999), weight_decay=1e-4, amsgrad=True, eps=1e-10
    )
    kernel = utils.get_gaussian_kernel(kernel_size=5, sigma=4)

    def loss() -> Tensor:
        model.train()
        return utils.global_cosine_hm_percent(*model(images), p=0.9, factor=0.1)

    @torch.no_grad()
    def judge() -> object:
        model.eval()
        maps, _ = utils.cal_anomaly_maps(*model(images[:1]), images.shape[-1])
        return _top(kernel(F.interpolate(maps, size=256, mode="bilinear", align_corners=False)))

    return {STEP: partial(_step, loss, optimizer, clip=0.1, of=learning), IMAGE: judge}


def diffusion_ad(code: Path, images: Tensor) -> Timed:
    """`train.py` from images that are damaged already, and its `eval`, at the widths of `args1.json`."""
    import json
    from collections import defaultdict

    prepare(code, "DiffusionAD")
    recon, seg, ddpm, train = map(
        importlib.import_module, ("models.Recon_subnetwork", "models.Seg_subnetwork", "models.DDPM", "train")
    )
    args = defaultdict(str, json.loads((code / "DiffusionAD/args/args1.json").read_text(encoding="utf-8")))
    args["img_size"] = [*images.shape[2:]]
    unet = recon.UNetModel(
        images.shape[-1], args["base_channels"], channel_mults=args["channel_mults"], dropout=args["dropout"],
        n_heads=args["num_heads"], n_head_channels=args["num_head_channels"], in_channels=3,
    )  # fmt: skip
    betas = ddpm.get_beta_schedule(args["T"], args["beta_schedule"])
    sampler = ddpm.GaussianDiffusionModel(
        args["img_size"], betas, loss_weight=args["loss_weight"], loss_type=args["loss-type"], noise="gauss",
        img_channels=3,
    )  # fmt: skip
    segmenter = seg.SegmentationSubNetwork(in_channels=6, out_channels=1)
    optimizers = [
        torch.optim.Adam(unet.parameters(), lr=args["diffusion_lr"]),
        torch.optim.Adam(segmenter.parameters(), lr=args["seg_lr"]),
    ]
    focal, smooth, masks = train.BinaryFocalLoss(), nn.SmoothL1Loss(), half_masks(images)

    def step() -> None:
        unet.train(), segmenter.train()
        labels = torch.zeros(len(images))
        noise, restored, *_ = sampler.norm_guided_one_step_denoising(unet, images, labels, args)
        found = segmenter(torch.cat((images, restored), dim=1))
        total = noise + 5 * focal(found, masks) + smooth(found, masks)
        for optimizer in optimizers:
            optimizer.zero_grad()
        total.backward()
        for optimizer in optimizers:
            optimizer.step()

    @torch.no_grad()
    def judge() -> object:
        unet.eval(), segmenter.eval()
        times = (torch.tensor([args[name]]) for name in ("eval_normal_t", "eval_noisier_t"))
        _, restored, *_ = sampler.norm_guided_one_step_denoising_eval(unet, images[:1], *times, args)
        found = segmenter(torch.cat((images[:1], restored), dim=1))
        return found, found.flatten(1).topk(50, dim=1)[0].mean()

    return {STEP: step, IMAGE: judge}


SYSTEMS: dict[str, Callable[[Path, Tensor], Timed]] = {
    "patchcore": patchcore,
    "rd4ad": rd4ad,
    "recontrast": recontrast,
    "simplenet": simplenet,
    "destseg": destseg,
    "uniad": uniad,
    "vitad": vitad,
    "mambaad": mambaad,
    "dinomaly": dinomaly,
    "diffusion_ad": diffusion_ad,
}


def half_masks(images: Tensor) -> Tensor:
    """Masks of which the left half is damaged."""
    masks = torch.zeros_like(images[:, :1])
    masks[..., : images.shape[-1] // 2] = 1
    return masks


def scanned_tokens() -> Tensor:
    """What a module of MambaAD's first decoder stage is given of an image of 256 px."""
    return torch.randn(1, 8, 8, 512, generator=torch.Generator().manual_seed(0))


def seed_all() -> None:
    """The three random streams that their codes draw from."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  theirs


def _step(
    loss_of: Callable[[], Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    clip: float = 0.0,
    of: Any = None,
) -> float:
    """Loss, backward and the optimizer's step, and the loss read as their loops do."""
    loss = loss_of()
    optimizer.zero_grad()
    loss.backward()
    if clip:
        nn.utils.clip_grad_norm_(of.parameters() if isinstance(of, nn.Module) else of, max_norm=clip)
    optimizer.step()
    return loss.item()


def _top(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Maps and the mean of the largest hundredth, all values sorted."""
    values = maps.flatten(1).sort(dim=1, descending=True)[0]
    return maps, values[:, : values.shape[1] // 100].mean(1)
