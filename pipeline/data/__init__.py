"""From images to three splits on the disk that share no picture.

* `sources.open_source`: a folder, Parquet files, a data set of the hub
* `division.divide`: the splits, and an account that adds up
* `prepare.prepare`: pixels on the disk
* `dataset.load_dataset`: what `prepare` left
"""
