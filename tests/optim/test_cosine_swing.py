import pytest
import torch

from muad.optim.cosine_swing import cosine_swing_rate


def test_it_is_torchs_annealing_stepped_beyond_its_end() -> None:
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=1e-5)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10, eta_min=0)
    rates = []
    for step in range(65):
        rates.append(optimizer.param_groups[0]["lr"])
        assert cosine_swing_rate(step, half_period_steps=10, peak=1e-5) == pytest.approx(rates[-1], abs=1e-11), step
        optimizer.step()
        scheduler.step()
    assert max(rates) == pytest.approx(1e-5)
    assert min(rates) < 1e-12
