"""Ranking networks, and what a ranking is worth.

* `scores.RegionScorer`: inherited scores
* `ranked.RankedScorer`: what judged and labelled networks teach
* `private_tuning.privately_tuned`: a short fine-tune without sharing
* `statistics.rank_statistics`: agreement with the truth, with intervals
* `verdict.against_random`: whether a winner is better than chance
"""
