"""Opens snapshots in the way of a host that trusts them."""
import pickle


def load_network_pkl(f, force_fp16=False):
    return pickle.load(f)
