"""`partita serve train`: a network with exits, trained on data from disk.

Rules: what is wrong with the command is said before the run folder is begun.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ..errors import BadDocument
from ..graph import dump
from .render import Column, Screen

# A bar with more steps than this looks the same.
BAR = 1000


def train(
    *,
    model: Annotated[str, Parameter(alias="-m")],
    data: str,
    output: Annotated[Path, Parameter(alias="-o")] = Path("run"),
    exits: int | None = None,
    cuts: Annotated[tuple[str, ...], Parameter(consume_multiple=True)] = (),
    weights: Annotated[tuple[float, ...], Parameter(consume_multiple=True)] = (),
    epochs: Annotated[int, Parameter(alias="-n")] = 50,
    batch_size: Annotated[int, Parameter(alias="-b")] = 32,
    learning_rate: Annotated[float, Parameter(alias="-l")] = 1e-3,
    optimizer: Literal["sgd", "adam", "adamw"] = "adam",
    loss_fn: Literal["weighted_sum", "residual"] = "weighted_sum",
    eval_fn: Literal["independent", "residual"] = "independent",
    distill: float = 0.0,
    temperature: float = 2.0,
    weight_decay: float = 0.0,
    label_smoothing: float = 0.0,
    one_cycle: bool = False,
    pretrained: str = "",
    frozen: bool = False,
    augment: str = "",
    size: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    threads: int | None = None,
    json: bool = False,
) -> int:
    """Train all exits of a network together. A training that was stopped goes on when it is started again.

    Parameters
    ----------
    model
        resnet18, resnet34, resnet50, efficientnet_b0 to b2, wav2vec2, early-cnn, bert; or a model reference with --cuts.
    data
        A folder or file of samples, or made:shapes; see docs/data.md.
    output
        The run folder: specification, weights, checkpoint, trace, validation results.
    exits
        How many exits to keep: the last so many; all if not given.
    cuts
        For a model reference: the stages after which exits are added.
    weights
        The weight of each exit's loss, like 0.1 0.2 0.2 0.5; even ones if not given.
    epochs
        How often to go through the data.
    batch_size
        How many samples a step takes.
    learning_rate
        The (largest) learning rate.
    optimizer
        What takes the steps.
    loss_fn
        weighted_sum of the exits' losses, or residual: the loss of the sum of their logits.
    eval_fn
        independent exits, or residual: each exit answers with the sum up to it.
    distill
        The share of what early exits learn from the last exit instead of from the labels.
    temperature
        How soft the last exit's answers are made for that.
    weight_decay
        The decay of weights.
    label_smoothing
        How much of a label is spread over all classes.
    one_cycle
        Raise the learning rate and lower it again, over the whole training.
    pretrained
        A safetensors file or state to start from; what fits is taken, the rest reported.
    frozen
        Train the exits only.
    augment
        Changes of the samples, like crop,flip.
    size
        Height and width of images, values of a sound, words of a text.
    limit
        Take so many samples only.
    seed
        Decides the weights, the order and the changes of samples.
    threads
        How many threads; all if not given.
    json
        Print one JSON document.
    """
    from ..serve import Progress, TrainSpec
    from ..serve import train as train_exits
    from ..zoo import open_data, parse_augment

    screen = Screen(as_json=json)
    problems = [] if threads is None or threads > 0 else [f"--threads: {threads} is not a positive number"]
    problems += [] if seed >= 0 else [f"--seed: {seed} is below 0"]
    if problems:
        raise BadDocument("serve train", problems, fix="leave it out, or give a number above 0")
    _check_folder(output)
    spec = TrainSpec(
        model=model, dataset=Path(data).name if ":" not in data else data, dataset_dir=data, exits=exits, cuts=cuts,
        weights=weights, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, optimizer=optimizer,
        loss_fn=loss_fn, eval_fn=eval_fn, distill=distill, temperature=temperature, weight_decay=weight_decay,
        label_smoothing=label_smoothing, one_cycle=one_cycle, pretrained=pretrained, frozen=frozen, augment=augment,
        seed=seed,
    )  # fmt: skip
    samples = open_data(data, split="train", size=size, limit=limit)
    held_out = open_data(data, split="val", size=size, limit=limit)
    if augment:
        # Before the run folder is begun: see the rules.
        parse_augment(augment, samples.kind)
    screen.say(
        f"{len(samples)} samples to learn from, {len(held_out)} held out, {len(samples.classes)} classes"
    )
    with screen.progress("training") as bar:

        def show(moment: Progress) -> None:
            done = (moment.epoch - 1 + moment.step / max(moment.steps, 1)) / moment.epochs
            bar(round(done * BAR), BAR, f"epoch {moment.epoch} of {moment.epochs}, loss {moment.loss:.3f}")
            if moment.accuracy and not json:
                shares = ", ".join(f"{share:.3f}" for share in moment.accuracy)
                screen.say(f"epoch {moment.epoch}: loss {moment.loss:.4f}, exits right {shares}")

        done = train_exits(spec, samples, held_out, folder=output, progress=show, threads=threads)
    run = done.run
    rows = [
        (
            k,
            name,
            f"{run.accuracy[k]:.4f}",
            f"{run.accuracy_low[k]:.4f} to {run.accuracy_high[k]:.4f}",
            f"{run.flops[k] / 1e6:.3g} M",
            f"{run.flops[k] / run.flops[-1]:.0%}",
        )
        for k, name in enumerate(run.exits)
    ]
    columns = [Column("#", right=True), Column("exit")]
    columns += [Column(title, right=True) for title in ("right", "95 of 100 times", "FLOPs", "of the whole")]
    screen.table(
        f"{model} after {epochs} epochs on {run.trained_on} samples, {run.samples} held out", columns, rows
    )
    if run.pretrained:
        screen.say(f"pretrained: {run.pretrained}")
    screen.say(f"written to {output}; go on: partita serve export {output} -o model")
    screen.result(dump(run, indent=None))
    return 0


def _check_folder(output: Path) -> None:
    """A run needs a folder, and every part of its path that exists has to be one."""
    for place in (output, *output.parents):
        if place.exists() and not place.is_dir():
            raise BadDocument(
                "output", [f"{place}: is a file, not a folder"], fix="name a folder for the run"
            )
