"""What stage `split` writes beside partition and children."""

from pipeline.runs.documents.base import Document


class CalibrationFile(Document):
    """`children/calibration.json`: calibrated = scale * score + shifts[region]."""

    scale: float
    shifts: list[float]
