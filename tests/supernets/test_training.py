"""Training: recipes behind one interface, exact resume, and learning."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from pipeline.errors import PipelineError
from pipeline.spaces.space import SearchSpace
from pipeline.supernets.data import TrainingData
from pipeline.supernets.evaluate import evaluate, evaluate_inherited, refresh_batchnorm
from pipeline.supernets.files import (
    load_network,
    load_supernet,
    read_tensors,
    save_network,
    save_supernet,
    write_tensors,
)
from pipeline.supernets.network import Network
from pipeline.supernets.recipes import RECIPES, Phase
from pipeline.supernets.schedule import phases_of, schedule
from pipeline.supernets.settings import Optimizer, TrainSettings
from pipeline.supernets.steps import Training
from pipeline.supernets.supernet import Supernet
from pipeline.supernets.training import TrainResult, train

ALL = [*RECIPES, "alone"]


class Killed(Exception):
    """What ends a training in these tests."""


def _model(space: SearchSpace, recipe: str, seed: int = 0) -> Supernet | Network:
    return Network(space.blocks(space.max()), seed) if recipe == "alone" else Supernet(space, seed=seed)


def _settings(recipe: str) -> TrainSettings:
    ema = 0.9 if recipe in ("alone", "sandwich") else None
    optimizer: Optimizer = "adamw" if recipe in ("alone", "single-path") else "sgd"
    return TrainSettings(
        optimizer=optimizer,
        recipe=recipe,
        epochs=2,
        batch_size=16,
        lr=0.02,
        grad_clip=2.0,
        ema_decay=ema,
        mixup=0.4 if ema else 0.0,
        seed=3,
        checkpoint_seconds=0,
    )


@pytest.mark.parametrize("recipe", ALL)
def test_a_killed_training_goes_on_bit_for_bit(
    recipe: str, tiny_space: SearchSpace, tiny_data: TrainingData, tmp_path: Path
) -> None:
    settings, checkpoint = _settings(recipe), tmp_path / "checkpoint.safetensors"
    whole = _model(tiny_space, recipe)
    expected = train(whole, tiny_data, settings)

    def kill(done: int, total: int, what: str) -> None:
        if done in (3, 6):
            raise Killed

    result: TrainResult | None = None
    for attempt in range(3):
        model = _model(tiny_space, recipe, seed=attempt + 10)  # the weights come from the checkpoint alone
        if attempt == 0:
            model = _model(tiny_space, recipe)
        try:
            result = train(model, tiny_data, settings, checkpoint, kill if attempt < 2 else None)
        except Killed:
            continue
    assert result == expected
    assert len(expected.losses) == expected.steps == 8
    ours, theirs = whole.state_dict(), model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    again = train(_model(tiny_space, recipe, seed=99), tiny_data, settings, checkpoint)
    assert again == expected  # a finished training is only read


def test_a_checkpoint_of_an_older_version_goes_on(
    tiny_space: SearchSpace, tiny_data: TrainingData, tmp_path: Path
) -> None:
    """Version 0.1 knew one optimiser, whose momentum it named plainly, and neither wrote its name nor that of mixup."""
    settings, checkpoint = replace(_settings("single-path"), optimizer="sgd"), tmp_path / "checkpoint.safetensors"
    expected = train(_model(tiny_space, "single-path"), tiny_data, settings)

    def kill(done: int, total: int, what: str) -> None:
        if done == 5:
            raise Killed

    with pytest.raises(Killed):
        train(_model(tiny_space, "single-path"), tiny_data, settings, checkpoint, kill)
    tensors, about = read_tensors(checkpoint, "checkpoint")
    assert about["training"].pop("optimizer") == "sgd" and about["training"].pop("mixup") == 0
    older = {
        name.replace("optimizer.momentum_buffer.", "momentum."): tensor
        for name, tensor in tensors.items()
        if not name.startswith("optimizer.") or tensor.any()  # it had no momentum of what had not moved yet
    }
    assert older.keys() != tensors.keys()
    write_tensors(checkpoint, older, about)
    assert train(_model(tiny_space, "single-path", seed=99), tiny_data, settings, checkpoint) == expected


@pytest.mark.parametrize("recipe", ALL)
def test_every_recipe_learns(recipe: str, tiny_space: SearchSpace, tiny_data: TrainingData) -> None:
    small = tiny_space.with_resolutions((16,))
    for index, stage in enumerate(small.stages):
        slots = tuple(tuple(op for op in slot if op.kernel in (3, 5))[-3:] for slot in stage.slots[:1])
        small = small.with_stage(index, replace(stage, depths=(1,), slots=slots))
    model = _model(small, recipe)
    epochs = 12 if recipe in ("sandwich", "alone") else 30
    train(model, tiny_data, TrainSettings(recipe=recipe, epochs=epochs, batch_size=16, lr=0.05, seed=1))
    assert not model.training
    images = tiny_data.normalised()
    if isinstance(model, Supernet):
        score = evaluate_inherited(model, small.max(), images, images, tiny_data.labels)
    else:
        refresh_batchnorm(model, images)
        score = evaluate(model, images, tiny_data.labels)
    assert score.accuracy > 0.8
    assert score.images == 64


def _plans(phase: Phase, count: int = 30) -> list[list]:  # type: ignore[type-arg]
    return [phase.plan(random.Random(i), 0.5) for i in range(count)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_plans_stay_in_the_space_and_depend_on_their_generator_alone(recipe: str, tiny_space: SearchSpace) -> None:
    phases = RECIPES[recipe](tiny_space)
    assert sum(phase.share for phase in phases) == pytest.approx(1)
    for phase in phases:
        plans = _plans(phase)
        assert plans == _plans(phase)
        assert any(plan != plans[0] for plan in plans) or recipe == "progressive-shrinking"
        for part in (part for plan in plans for part in plan):
            assert part.arch is not None
            assert tiny_space.contains(part.arch)
            assert part.labels + part.teacher > 0
            assert part.teacher == 0 or phase.teacher != "none"


def test_the_sandwich_has_the_extremes_and_the_largest_teaches(tiny_space: SearchSpace) -> None:
    (phase,) = RECIPES["sandwich"](tiny_space)
    for plan in _plans(phase):
        assert [part.arch for part in plan[:2]] == [tiny_space.max(), tiny_space.min()]
        assert len(plan) == 4
        assert [(part.labels, part.teacher) for part in plan] == [(1, 0), (0, 1), (0, 1), (0, 1)]


def test_strict_fairness_shows_every_op_equally_often(tiny_space: SearchSpace) -> None:
    deep = tiny_space
    for index, stage in enumerate(deep.stages):
        ops = stage.slots[-1]
        slots = tuple(ops[-6:] for _ in stage.slots)
        deep = deep.with_stage(index, replace(stage, depths=stage.depths[-1:], slots=slots))
    (phase,) = RECIPES["strict-fairness"](deep)
    for plan in _plans(phase, 5):
        for number, stage in enumerate(deep.stages):
            for layer, ops in enumerate(stage.slots):
                shown = Counter(part.arch.stages[number].ops[layer] for part in plan)
                assert shown == Counter(ops)
            widths = Counter(part.arch.stages[number].width for part in plan)
            assert set(widths.values()) == {3}


def test_shrinking_opens_one_choice_after_the_other(tiny_space: SearchSpace) -> None:
    phases = RECIPES["progressive-shrinking"](tiny_space)
    assert [phase.name for phase in phases] == [
        "largest", "kernels", "depths 1", "depths 2", "expands 1", "expands 2"
    ]  # fmt: skip
    archs = [[part.arch for plan in _plans(phase, 60) for part in plan] for phase in phases]
    top = tiny_space.max()
    assert {arch.stages for arch in archs[0]} == {top.stages}

    def seen(index: int, what: str) -> set[int]:
        ops = [op for arch in archs[index] for stage in arch.stages for op in stage.ops]
        depths = {len(arch.stages[1].ops) for arch in archs[index]}
        return {"kernel": {op.kernel for op in ops}, "expand": {op.expand for op in ops}, "depth": depths}[what]

    assert [len(seen(i, "kernel") - {1}) for i in range(6)] == [1, 3, 3, 3, 3, 3]
    assert [len(seen(i, "depth")) for i in range(6)] == [1, 1, 2, 3, 3, 3]
    assert [len(seen(i, "expand") - {0}) for i in range(6)] == [1, 1, 1, 1, 2, 3]


def test_a_training_that_continues_another_has_the_last_phase_only_at_its_own_rate(tiny_space: SearchSpace) -> None:
    """A sub-supernet goes on where its parent's recipe ended: the largest network does not come first again."""
    phases = phases_of(Supernet(tiny_space), TrainSettings("progressive-shrinking", continues=True), None)
    assert [(phase.name, phase.share, phase.lr_scale) for phase in phases] == [("expands 2", 1.0, 1.0)]
    whole = RECIPES["progressive-shrinking"](tiny_space)
    assert _plans(phases[0]) == _plans(whole[-1])


def test_a_step_of_the_sandwich_adds_four_gradients(tiny_space: SearchSpace, tiny_data: TrainingData) -> None:
    settings = TrainSettings(epochs=1, batch_size=16, label_smoothing=0.1, seed=4)
    supernet = Supernet(tiny_space).train()
    training = Training(supernet, tiny_data, settings)
    images, answers = training.batches(0)
    ((labels, _),) = answers
    phase = training.phases[0][0]
    training._passes(phase, images, answers)
    whole = {name: p.grad.clone() for name, p in supernet.named_parameters() if p.grad is not None}
    supernet.zero_grad()
    soft = None
    for part in phase.plan(random.Random("4/0"), 0.0):
        assert part.arch is not None
        supernet.activate(part.arch)
        size = part.arch.resolution
        inputs = images if size == 16 else F.interpolate(images, (size, size), mode="bilinear", antialias=True)
        logits = supernet(inputs)
        if soft is None:
            F.cross_entropy(logits, labels, label_smoothing=0.1).backward()  # type: ignore[no-untyped-call]
            soft = logits.detach().softmax(1)
        else:
            (-(soft * logits.log_softmax(1)).sum(1).mean()).backward()
    again = {name: p.grad for name, p in supernet.named_parameters() if p.grad is not None}
    assert again.keys() == whole.keys()
    assert len(whole) > 50
    for name, gradient in again.items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-4, atol=1e-6)


def test_mixup_blends_a_batch_with_itself_and_asks_for_both_answers(
    tiny_space: SearchSpace, tiny_data: TrainingData
) -> None:
    plain, mixed = (
        Training(_model(tiny_space, "alone"), tiny_data, TrainSettings("alone", batch_size=16, mixup=alpha))
        for alpha in (0.0, 1.0)
    )
    (images, ((labels, _),)), (blended, answers) = plain.batches(0), mixed.batches(0)
    (own, share_of_own), (other, rest) = answers
    assert torch.equal(own, labels) and torch.equal(other, labels.flip(0))
    assert 0 < share_of_own < 1 and share_of_own + rest == pytest.approx(1)
    torch.testing.assert_close(blended, share_of_own * images + rest * images.flip(0))
    assert torch.equal(mixed.batches(0)[0], blended)  # the step alone decides
    assert mixed.batches(1)[1][0][1] != share_of_own


def test_separate_ops_that_were_not_drawn_do_not_move(tiny_space: SearchSpace, tiny_data: TrainingData) -> None:
    supernet = Supernet(tiny_space, "separate")
    before = {name: tensor.clone() for name, tensor in supernet.named_parameters()}
    settings = TrainSettings(recipe="single-path", epochs=0.25, batch_size=16, weight_decay=0.1, seed=2)
    assert train(supernet, tiny_data, settings).steps == 1
    drawn = {key for key, _ in supernet.place(supernet.active)}
    for name, parameter in supernet.named_parameters():
        moved = not torch.equal(parameter, before[name])
        if parameter.dim() < 4 and not moved:
            continue  # a scale that the next normalisation undoes has no gradient
        assert moved == (name.split(".")[1] in drawn), name


def test_epochs_are_reported_and_settings_are_part_of_a_checkpoint(
    tiny_space: SearchSpace, tiny_data: TrainingData, tmp_path: Path
) -> None:
    epochs: list[float] = []
    settings, checkpoint = _settings("single-path"), tmp_path / "checkpoint.safetensors"
    train(Supernet(tiny_space), tiny_data, settings, checkpoint, on_epoch=lambda end: epochs.append(end.epoch))
    assert epochs == [1, 2]
    with pytest.raises(PipelineError, match=r"another training \(lr differ\)"):
        train(Supernet(tiny_space), tiny_data, replace(settings, lr=0.3), checkpoint)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(PipelineError, match="not a whole safetensors file"):
        train(Supernet(tiny_space), tiny_data, settings, checkpoint)


def test_averaged_weights_are_what_a_training_leaves(tiny_space: SearchSpace, tiny_data: TrainingData) -> None:
    model = Network(tiny_space.blocks(tiny_space.max()))
    weight = dict(model.named_parameters())["9.linear.weight"]
    states = [weight.detach().clone()]
    settings = TrainSettings("alone", epochs=6, batch_size=len(tiny_data), lr=0.05, ema_decay=0.5)  # one step an epoch
    train(model, tiny_data, settings, on_epoch=lambda end: states.append(weight.detach().clone()))
    average = states[0]
    for step, state in enumerate(states[1:]):
        average = torch.lerp(average, state, 1 - min(0.5, (1 + step) / (10 + step)))
    assert torch.allclose(weight, average, atol=1e-6)
    assert not torch.allclose(average, states[-1], atol=1e-4)


def test_the_learning_rate_warms_up_and_falls(tiny_space: SearchSpace, tiny_data: TrainingData) -> None:
    settings = TrainSettings(recipe="single-path", epochs=10, batch_size=16, lr=1.0, warmup=0.1)
    training = Training(Supernet(tiny_space), tiny_data, settings)
    rates = []
    for step in range(training.steps):
        training.step = step
        training._set_lr(*training.phases[0])
        rates.append(training.optimizer.param_groups[0]["lr"])
    assert rates[:5] == sorted(rates[:5])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[0] < 0.3
    assert max(rates) > 0.9
    assert rates[-1] < 0.01


def test_phases_cover_every_step_once(tiny_space: SearchSpace) -> None:
    phases = RECIPES["progressive-shrinking"](tiny_space)
    for steps in (1, 2, 7, 100, 590):
        steps_of = schedule(phases, steps)
        assert [start for _, start, _ in steps_of] == [0, *[end for _, _, end in steps_of[:-1]]]
        assert steps_of[-1][2] == steps


def test_recipes_fit_their_models(tiny_space: SearchSpace, tiny_data: TrainingData) -> None:
    with pytest.raises(PipelineError, match="known are single-path"):
        train(Supernet(tiny_space), tiny_data, TrainSettings(recipe="alone"))
    with pytest.raises(PipelineError, match="known are alone"):
        train(Network(tiny_space.blocks(tiny_space.min())), tiny_data, TrainSettings(recipe="sandwich"))


@pytest.mark.parametrize(
    ("change", "part"),
    [({"lr": -1.0}, "lr is -1"), ({"ema_decay": 1.0}, "ema_decay"), ({"grad_clip": 0.0}, "grad_clip")],
)
def test_wrong_settings_are_refused(change: dict[str, float], part: str) -> None:
    with pytest.raises(PipelineError, match=part):
        replace(TrainSettings(), **change)  # type: ignore[arg-type]


def test_images_and_labels_must_fit(tiny_data: TrainingData) -> None:
    with pytest.raises(PipelineError, match="64 images with 3 labels"):
        replace(tiny_data, labels=torch.arange(3))
    with pytest.raises(PipelineError, match=r"\(64, 16, 16\)"):
        replace(tiny_data, images=torch.zeros(64, 16, 16, dtype=torch.uint8))


def test_a_memory_map_gives_the_same_batches(tiny_data: TrainingData) -> None:
    mapped = replace(tiny_data, images=tiny_data.images.numpy())  # type: ignore[union-attr]
    indices = torch.tensor([5, 3, 60])
    for one, other in zip(
        tiny_data.training_batch(indices, torch.Generator().manual_seed(1)),
        mapped.training_batch(indices, torch.Generator().manual_seed(1)),
        strict=True,
    ):
        assert torch.equal(one, other)
    part = tiny_data.training_batch(indices, torch.Generator().manual_seed(1), slice(1, 3))
    assert torch.equal(part[0], tiny_data.training_batch(indices, torch.Generator().manual_seed(1))[0][1:])
    assert torch.equal(mapped.normalised(indices), tiny_data.subset(indices).normalised())
    assert [len(labels) for _, labels in tiny_data.batches(40)] == [40, 24]


def test_evaluation_counts_right_answers(tiny_space: SearchSpace, tiny_data: TrainingData) -> None:
    network = Network(tiny_space.blocks(tiny_space.min())).train()
    images = tiny_data.normalised()
    score = evaluate(network, images, tiny_data.labels, batch_size=7)
    with torch.no_grad():
        logits = network.eval()(F.interpolate(images, (12, 12), mode="bilinear", antialias=True))
    assert score.accuracy == float((logits.argmax(1) == tiny_data.labels).float().mean())
    assert score.cross_entropy == pytest.approx(float(F.cross_entropy(logits, tiny_data.labels)), rel=1e-5)
    with pytest.raises(PipelineError, match="no images"):
        evaluate(network, images[:0], tiny_data.labels[:0])


def test_judging_twice_gives_the_same_bits_and_leaves_the_supernet(
    tiny_space: SearchSpace, tiny_data: TrainingData
) -> None:
    supernet = Supernet(tiny_space)
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    images = tiny_data.normalised()
    scores = [
        evaluate_inherited(supernet, tiny_space.max(), images, images, tiny_data.labels, batch_size=16)
        for _ in range(2)
    ]
    assert scores[0] == scores[1]
    assert all(torch.equal(before[name], tensor) for name, tensor in supernet.state_dict().items())


def test_files_give_back_what_was_saved(tiny_space: SearchSpace, tmp_path: Path) -> None:
    x = torch.randn(2, 3, 16, 16)
    supernet = Supernet(tiny_space, "separate", seed=8).eval()
    save_supernet(supernet, tmp_path / "supernet.safetensors")
    loaded = load_supernet(tmp_path / "supernet.safetensors")
    assert (loaded.space, loaded.sharing) == (tiny_space, "separate")
    assert torch.equal(loaded(x), supernet(x))
    network = supernet.extract(tiny_space.min())
    save_network(network, tmp_path / "network.safetensors")
    assert torch.equal(load_network(tmp_path / "network.safetensors")(x), network(x))
    with pytest.raises(PipelineError, match="holds: network of schema version 1; needed is supernet"):
        load_supernet(tmp_path / "network.safetensors")
    with pytest.raises(PipelineError, match="no network at"):
        load_network(tmp_path / "absent")
