"""Figures of a training run: curves, confusion matrix, worst mistakes. They need matplotlib."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from minicnn import foreign
from minicnn.data.figures import figure
from minicnn.io.model_file import Description
from minicnn.train.assess import Assessment


def curves(records: list[dict]) -> Any:
    """Loss, error rate and learning rate over the epochs, with a mark at the best epoch. → a figure"""
    epochs = [r["epoch"] for r in records]
    best = max((r["epoch"] for r in records if r["best"]), default=None)
    fig = figure(11, 3.6)
    loss, error, rate = fig.subplots(1, 3)
    for ax, key, title in ((loss, "loss", "loss (cross entropy)"), (error, "accuracy", "error, %")):
        for prefix, label in (("", "training, with dropout and shifts if any"), ("val_", "validation")):
            if prefix + key not in records[0]:
                continue
            values = np.array([r[prefix + key] for r in records])
            values = 100 * (1 - values) if key == "accuracy" else values
            ax.plot(epochs, values, marker="o", markersize=3, label=label)
        ax.set_title(title)
        if best:
            ax.axvline(best, color="grey", linewidth=0.8, linestyle="--")
        ax.set_ylim(bottom=0)
    loss.legend(fontsize=8)
    rate.plot(epochs, [r["lr"] for r in records], marker="o", markersize=3, color="tab:green")
    rate.set_title("learning rate at the end of the epoch")
    rate.set_ylim(bottom=0)
    for ax in (loss, error, rate):
        ax.set_xlabel("epoch (dashed: the best on validation)")
        ax.grid(alpha=0.3)
        ax.xaxis.get_major_locator().set_params(integer=True)
    return fig


def confusion(matrix: np.ndarray, classes: list[str], path: str | Path) -> None:
    """The number of images of each class (rows) predicted as each class (columns): correct blue, mistakes red."""
    K = len(classes)
    fig = figure(max(4.5, 0.55 * K), max(4.2, 0.52 * K))
    ax = fig.subplots()
    wrong = matrix.astype(float)
    np.fill_diagonal(wrong, 0)
    right = np.where(np.eye(K, dtype=bool), matrix / np.maximum(1, matrix.sum(1, keepdims=True)), np.nan)
    ax.imshow(wrong, cmap="Reds", vmin=0, vmax=max(1.0, wrong.max()))
    ax.imshow(right, cmap="Blues", vmin=0, vmax=1.5)       # on the diagonal only: the share of the class that is right
    for truth, prediction in np.argwhere(matrix) if K <= 30 else []:
        dark = wrong[truth, prediction] > 0.6 * wrong.max()
        ax.text(prediction, truth, matrix[truth, prediction], ha="center", va="center", fontsize=8,
                color="white" if dark else "black", weight="bold" if truth == prediction else "normal")  # fmt: skip
    names = [foreign.picture(_short(name)) for name in classes]
    long = max(map(len, classes)) > 2
    ax.set_xticks(range(K), names, rotation=45 if long else 0, ha="right" if long else "center")
    ax.set_yticks(range(K), names)
    ax.set_xlabel("prediction")
    ax.set_ylabel("truth")
    ax.set_title(f"{int(np.trace(matrix))} of {int(matrix.sum())} right")
    fig.savefig(path)


def mistakes(assessment: Assessment, pictures, about: Description, path: str | Path, count: int = 12) -> None:
    """The most confident mistakes, drawn as the model's input, with file names."""
    worst = assessment.worst(count)
    columns = min(4, len(worst))
    rows = -(-len(worst) // columns)
    fig = figure(2.6 * columns, 2.9 * rows)
    axes = fig.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, i in zip(axes.flat, worst):
        image = about.preprocessing.read(pictures.picture(int(i)))
        ax.imshow(image.transpose(1, 2, 0).squeeze(), cmap="gray")
        truth, guess = (about.classes[k].split(",")[0] for k in (assessment.labels[i], assessment.top[i, 0]))
        name, said = foreign.picture(_short(str(assessment.names[i]))), foreign.picture(f"{truth} taken for {guess}")
        ax.set_title(f"{name}\n{said}, {100 * assessment.probabilities[i, 0]:.0f} %", fontsize=8)
    fig.savefig(path)


def _short(name: str, letters: int = 34) -> str:
    return name if len(name) <= letters else "…" + name[1 - letters :]
