"""The engines of the house, measured."""

import numpy as np
import pytest

from partita.profile import Effort, measure

QUICK = Effort(runs=3, seconds=0.0, budget=2.0)


@pytest.fixture(scope="module")
def net():
    """Two blocks with a skip connection, batch normalisation and dropout, small enough for any machine."""
    torch = pytest.importorskip("torch", reason="the engine for modules is an extra")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16))
            self.second = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.Dropout(0.5))

        def forward(self, x):
            h = self.first(x)
            return self.second(h) + h

    torch.manual_seed(0)
    return Net().eval()


def test_a_module_is_measured_there_and_back_and_stays_as_it_was(net):
    """Every stage has both costs; parameters, buffers and gradients are untouched."""
    import torch

    from partita.engine.torch_capture import capture_torch

    model = capture_torch(net, (torch.randn(4, 8),), name="net")
    before = {name: value.clone() for name, value in net.state_dict().items()}

    profile = measure(model, batches=(2, 4), effort=QUICK, backward=True)

    profile.check(model.chain)
    assert profile.trained
    assert profile.device.runtime.startswith("torch ")
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_graph_is_measured_stage_by_stage(tmp_path):
    """ONNX Runtime's stages add up to its whole, on the thread count asked for."""
    onnx = pytest.importorskip("onnx", reason="cutting ONNX files is an extra")
    from partita.engine.onnx_capture import capture_onnx

    floats = onnx.TensorProto.FLOAT
    given = onnx.helper.make_tensor_value_info("x", floats, ["batch", 4])
    made = onnx.helper.make_tensor_value_info("y", floats, ["batch", 4])
    weight = onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    nodes = [onnx.helper.make_node("MatMul", ["x", "w"], ["h"]), onnx.helper.make_node("Relu", ["h"], ["y"])]
    graph = onnx.helper.make_graph(nodes, "net", [given], [made], [weight])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "net.onnx")
    model = capture_onnx(tmp_path / "net.onnx")

    profile = measure(model, batches=(1, 2), effort=QUICK, threads=1)

    profile.check(model.chain)
    assert profile.device.threads == 1
    assert profile.seconds(0, 2, 2) == pytest.approx(profile.whole.forward[2].median)
    assert [stage.param_bytes for stage in profile.stages] == [64, 0]
