"""Exports of a class-conditional snapshot: plain networks, weights without a pickle, ONNX, a model card."""
