"""Networks for use without this library: `torch.export`, AOTInductor and ONNX files, compared with eager PyTorch."""
