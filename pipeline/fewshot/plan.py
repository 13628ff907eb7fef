"""What a few-shot search will cost, told before any of it is spent."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FewShotPlan:
    """Images that pass through a network, by purpose; a training pass costs about three judging passes.

    `gradient_images` counts forward and backward passes of the gradient criterion, 0 for the other criteria.
    """

    root_images: int
    gradient_images: int
    child_images: int
    regions: int
    judged_networks: int
    images_per_judgement: int
    tuned_networks: int
    images_per_tuning: int
    trained_networks: int
    images_per_training: int
    relaxed_images: int = 0

    @property
    def trained_images(self) -> int:
        """Images with a backward pass, over everything."""
        children = self.regions * self.child_images
        alone = self.tuned_networks * self.images_per_tuning + self.trained_networks * self.images_per_training
        return self.root_images + self.gradient_images + children + self.relaxed_images + alone

    @property
    def judged_images(self) -> int:
        """Images with a forward pass only, if no beginning were shared."""
        return self.judged_networks * self.images_per_judgement

    def lines(self) -> tuple[str, ...]:
        """The plan for people, one line per purpose."""
        tuning = self.images_per_tuning
        return (
            f"root supernet: {self.root_images:,} images",
            f"choosing the split: {self.gradient_images:,} images",
            f"{self.regions} sub-supernets: {self.child_images:,} images each",
            *([f"relaxing the space: {self.relaxed_images:,} images"] if self.relaxed_images else []),
            f"judging {self.judged_networks:,} networks: {self.images_per_judgement:,} images each, forward only",
            *([f"{self.tuned_networks} private fine-tunes: {tuning:,} images each"] if self.tuned_networks else []),
            f"{self.trained_networks} networks trained to the end: {self.images_per_training:,} images each",
            f"together: {self.trained_images:,} images of training, {self.judged_images:,} of judging",
        )
