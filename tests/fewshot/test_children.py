"""Weights are handed down exactly, children train alike and resume, and scores are those of the judge."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.fewshot.children import child_file, load_children, train_children
from pipeline.fewshot.criteria import CRITERIA, divide
from pipeline.fewshot.decisions import SplitError, decisions_of
from pipeline.fewshot.partition import Partition
from pipeline.fewshot.plan import FewShotPlan
from pipeline.fewshot.prefix import JudgingImages, judge_all
from pipeline.ranking.calibration import RegionCalibration, calibrate
from pipeline.ranking.private_tuning import PrivateTuning, privately_tuned, reranked
from pipeline.ranking.ranked import RankedScorer
from pipeline.ranking.scores import RegionScorer, scored_by_parent
from pipeline.supernets.data import TrainingData
from pipeline.supernets.evaluate import evaluate_inherited
from pipeline.supernets.settings import TrainSettings
from pipeline.supernets.supernet import Supernet, inherit
from tests.fewshot.test_criteria import evidence, narrow
from tests.spaces.families import FAMILIES

MACRO = narrow("nas-bench-macro")


def some_data(n: int = 48, seed: int = 0) -> TrainingData:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 10
    images = rng.integers(0, 60, (n, 16, 16, 3)) + 19 * labels[:, None, None, None]
    return TrainingData(torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels), (0.45,) * 3, (0.25,) * 3)


def judging(n: int = 20) -> JudgingImages:
    data = some_data(n + 16, seed=1)
    return JudgingImages(data.normalised(torch.arange(n, n + 16)), data.normalised(torch.arange(n)), data.labels[:n])


def unsettled(supernet: Supernet) -> Supernet:
    """BatchNorm statistics and transforms that differ from their initial values, so that losing them would show."""
    generator = torch.Generator().manual_seed(9)
    for name, tensor in supernet.state_dict().items():
        if tensor.is_floating_point() and ("norm" in name or "transforms" in name):
            tensor.add_(0.3 * torch.rand(tensor.shape, generator=generator))
    return supernet.eval()


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("name", FAMILIES)
def test_children_compute_what_their_parent_does_on_their_region(name: str, criterion: str) -> None:
    space = narrow(name)
    given = evidence(space, "separate" if name == "nas-bench-macro" else "nested")
    parent = unsettled(given.supernet)
    decisions = [d for d in decisions_of(space) if d.kind not in ("resolution", "expand")][:4]
    partition = divide(space, criterion, 3, given, decisions)
    assert len(partition.regions) >= 2
    rng = random.Random(5)
    images = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for region in partition.regions:
        child = inherit(parent, region)
        assert sum(p.numel() for p in child.parameters()) <= sum(p.numel() for p in parent.parameters())
        for arch in (region.max(), region.min(), region.sample(rng)):
            parent.activate(arch)
            child.activate(arch)
            with torch.inference_mode():
                assert torch.allclose(child(images), parent(images), rtol=0, atol=1e-5)


def test_a_child_keeps_only_what_its_region_can_use() -> None:
    space = narrow("ofa-mbv3-1.0")
    parent = Supernet(space, "separate")
    decision = next(d for d in decisions_of(space) if d.kind == "op")
    region = decision.restrict(space, [decision.options(space)[0]])
    child = inherit(parent, region)
    lost = set(parent.state_dict()) - set(child.state_dict())
    assert lost
    assert all(f"stage{decision.stage}_layer{decision.layer}_" in name for name in lost)


def test_shared_beginnings_score_as_the_judge_does() -> None:
    for sharing, name in (("separate", "nas-bench-macro"), ("nested", "quickstart")):
        space = narrow(name).with_resolutions([12, 16])
        supernet = unsettled(Supernet(space, sharing))  # type: ignore[arg-type]
        before = {key: tensor.clone() for key, tensor in supernet.state_dict().items()}
        rng = random.Random(2)
        archs = [space.sample(rng) for _ in range(12)]
        given = judging()
        found = judge_all(supernet, archs, given, batch_size=7)
        for arch, score in zip(archs, found, strict=True):
            alone = evaluate_inherited(supernet, arch, given.bn_images, given.images, given.labels, batch_size=16)
            assert score.cross_entropy == pytest.approx(alone.cross_entropy, abs=1e-5)
            assert score.accuracy == alone.accuracy
        assert all(torch.equal(tensor, before[key]) for key, tensor in supernet.state_dict().items())


def test_children_train_save_resume_and_score(tmp_path: Path) -> None:
    given = evidence(MACRO)
    data = some_data()
    partition = divide(MACRO, "similarity", 2, given, [d for d in decisions_of(MACRO) if d.kind == "op"])
    settings = TrainSettings("single-path", epochs=2, batch_size=24, lr=0.02)
    told: list[str] = []
    train_children(
        given.supernet, partition, data, settings, tmp_path, lambda done, total, what: told.append(what), late=2
    )
    assert set(told) == {"sub-supernet 1 of 2: images", "sub-supernet 2 of 2: images"}
    assert sorted(path.name for path in (tmp_path / "0").iterdir()) == ["supernet.safetensors"]
    stamp = child_file(tmp_path, 1).stat().st_mtime_ns
    child_file(tmp_path, 0).unlink()
    train_children(given.supernet, partition, data, settings, tmp_path, late=2)
    assert child_file(tmp_path, 1).stat().st_mtime_ns == stamp
    children = load_children(partition, tmp_path)
    rng = random.Random(0)
    archs = [MACRO.sample(rng) for _ in range(10)]
    scorer = RegionScorer(partition, children, judging())
    scores = scorer(archs)
    given_images = judging()
    for arch, score in zip(archs, scores, strict=True):
        child = children[partition.route(arch)]
        alone = evaluate_inherited(
            child, arch, given_images.bn_images, given_images.images, given_images.labels, batch_size=16
        )
        assert score == pytest.approx(-alone.cross_entropy, abs=1e-5)
    reference = scored_by_parent(given.supernet, archs, judging())
    raw, where = scorer(archs), [partition.route(arch) for arch in archs]
    calibration = calibrate(raw, reference, where, len(children))
    calibrated = replace(scorer, calibration=calibration)(archs)
    for region, positions in enumerate(partition.by_region(archs)):
        assert np.mean([calibrated[i] for i in positions]) == pytest.approx(
            np.mean([reference[i] for i in positions]), abs=1e-4
        ), region


def test_one_region_is_one_shot_bit_for_bit(tmp_path: Path) -> None:
    given = evidence(MACRO)
    settings = TrainSettings("single-path", epochs=1, batch_size=24)
    train_children(given.supernet, Partition.whole(MACRO), some_data(), settings, tmp_path / "children")
    from pipeline.supernets.training import train

    train(given.supernet, some_data(), settings)
    (child,) = load_children(Partition.whole(MACRO), tmp_path / "children")
    own = given.supernet.state_dict()
    assert all(torch.equal(tensor, own[name]) for name, tensor in child.state_dict().items())


def test_calibration_undoes_what_regions_add() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=200)
    regions = rng.integers(0, 3, 200).tolist()
    scores = 0.5 * truth + np.array([0.0, 2.0, -1.0])[regions]
    calibration = calibrate(scores.tolist(), truth.tolist(), regions, 3)
    assert calibration(scores.tolist(), regions) == pytest.approx(truth.tolist(), abs=1e-9)
    assert RegionCalibration.none(3)(scores.tolist(), regions) == pytest.approx(scores.tolist())
    with pytest.raises(SplitError, match="region 1, 2"):
        calibrate([1.0, 2.0], [1.0, 2.0], [0, 0], 3)


def test_private_tuning_improves_and_leaves_the_supernet_alone() -> None:
    supernet = evidence(MACRO).supernet
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    archs = [MACRO.min(), MACRO.max()]
    inherited = judge_all(supernet, archs, judging())
    tuned = privately_tuned(supernet, archs, some_data(), judging(), PrivateTuning(20, 24, 0.05))
    assert all(t.cross_entropy < i.cross_entropy for t, i in zip(tuned, inherited, strict=True))
    assert all(torch.equal(tensor, before[name]) for name, tensor in supernet.state_dict().items())
    again = privately_tuned(supernet, archs, some_data(), judging(), PrivateTuning(20, 24, 0.05))
    assert again == tuned


def test_the_ranker_learns_from_private_tunes_of_a_scorer() -> None:
    given = evidence(MACRO)
    scorer = RegionScorer(Partition.whole(MACRO), [given.supernet], judging())
    rng = random.Random(3)
    archs = [MACRO.sample(rng) for _ in range(8)]
    tuned = privately_tuned(given.supernet, archs, some_data(), judging(), PrivateTuning(4, 24, 0.05))
    labels = [-score.cross_entropy for score in tuned]
    more = [*archs, *(MACRO.sample(rng) for _ in range(20))]
    ranked = RankedScorer.learn(scorer.partition, more, scorer(more), labels)
    asked = [MACRO.max()], scorer([MACRO.max()])
    assert ranked.ranker is not None and len(ranked.ranker.ridge.leave_one_out) == 8
    assert ranked(*asked) == pytest.approx(ranked.ranker(*asked, [0]).tolist())
    assert RankedScorer.learn(scorer.partition, more, scorer(more), [])(*asked) == ranked.prior(*asked, [0]).tolist()
    with pytest.raises(SplitError, match="8 labels and 7 scores for 7 networks"):
        RankedScorer.learn(scorer.partition, archs[:7], scorer(archs[:7]), labels)


def test_reranked_order() -> None:
    assert reranked([4, 2, 7, 1], [0.1, 0.9]) == [2, 4, 7, 1]
    with pytest.raises(SplitError, match="3 private scores"):
        reranked([1, 2], [0.0, 0.0, 0.0])


def test_costs_are_told_before() -> None:
    plan = FewShotPlan(1000, 50, 300, 2, 10, 20, 3, 40, 2, 700)
    assert plan.trained_images == 1000 + 50 + 600 + 120 + 1400
    assert plan.judged_images == 200
    assert "2 sub-supernets: 300 images each" in plan.lines()
