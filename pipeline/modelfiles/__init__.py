"""ONNX, Core ML, TFLite and Core AI files as one graph: costs and recognised blocks, nothing executed.

* `read.read_model`: the facts of a file
* `graph.Graph`: nodes and tensors of any format
* `recognise.recognise`: the blocks in a graph
"""
