"""Pixel metrics as usual scripts compute them: scikit-learn on all pixels, AUPRO threshold by threshold."""

from __future__ import annotations

import cv2
import numpy as np


def sklearn_metrics(maps: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """AUROC, average precision and best F1 by three calls on the flattened arrays."""
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    labels, scores = masks.ravel().astype(np.uint8), maps.ravel()
    auroc = roc_auc_score(labels, scores)
    average_precision = average_precision_score(labels, scores)
    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / (precision + recall + 1e-7)
    return {"auroc": float(auroc), "ap": float(average_precision), "f1": float(f1[:-1].max())}


def plain_aupro(maps: np.ndarray, masks: np.ndarray, thresholds: int) -> dict[str, float]:
    """AUPRO: at each threshold binarise all maps, look at every region of every mask, average, integrate to 0.3."""
    low, high = float(maps.min()), float(maps.max())
    rates, overlaps = [], []
    for threshold in np.arange(low, high, (high - low) / thresholds):
        found = maps > threshold
        shares = []
        for binary, mask in zip(found, masks, strict=True):
            count, labelled = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
            for region in range(1, count):
                inside = labelled == region
                shares.append(binary[inside].sum() / inside.sum())
        overlaps.append(np.mean(shares))
        rates.append(np.logical_and(~masks, found).sum() / (~masks).sum())
    rate, overlap = np.array(rates), np.array(overlaps)
    kept = rate < 0.3
    rate, overlap = rate[kept] / rate[kept].max(), overlap[kept]
    return {"aupro": float(np.trapezoid(overlap[::-1], rate[::-1]))}  # thresholds rise, so rates fall
