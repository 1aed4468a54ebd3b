"""One record for each gateway of a run: what passes no gateway and that gateway's own trials, under their plain names.

Everything that judges a run is made for one gateway; a run with several is judged as so many runs that share the
trials of direct mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pandas as pd

from results.loaded import Loaded
from results.record import Plan, PlannedGateway, PlannedTrial
from scenarios.modes import MODES, passes_gateway


def views(loaded: Loaded) -> list[Loaded]:
    """Return the record as each gateway's run would have left it, the first gateway first.

    The record of a run with one gateway is returned as it is.
    """
    gateways = loaded.plan.every_gateway
    if len(gateways) == 1:
        return [loaded]
    return [_view(loaded, gateway, "" if at == 0 else gateway.name) for at, gateway in enumerate(gateways)]


def _view(loaded: Loaded, gateway: PlannedGateway, tag: str) -> Loaded:
    """Return the record of one gateway; its trials carry `tag`."""

    def keeps(trial: PlannedTrial) -> bool:
        passes = trial.mode not in MODES or passes_gateway(trial.mode)
        return trial.gateway == tag if passes else True

    places = [at for at, trial in enumerate(loaded.trials) if keeps(trial.trial)]
    moved = {at: new for new, at in enumerate(places)}
    return replace(
        loaded,
        plan=_plan(loaded.plan, gateway, keeps),
        trials=tuple(replace(loaded.trials[at], trial=_plain(loaded.trials[at].trial)) for at in places),
        samples=_moved(loaded.samples, moved),
        calls=_moved(loaded.calls, moved),
        left_out={moved[at]: why for at, why in loaded.left_out.items() if at in moved},
    )


def _plan(plan: Plan, gateway: PlannedGateway, keeps: Callable[[PlannedTrial], bool]) -> Plan:
    return replace(
        plan,
        gateway=gateway.name,
        gateway_config=gateway.config,
        settings={**plan.settings, "gateway_version": gateway.version},
        trials=[_plain(trial) for trial in plan.trials if keeps(trial)],
    )


def _plain(trial: PlannedTrial) -> PlannedTrial:
    return replace(trial, arm=trial.plain_arm)


def _moved(frame: pd.DataFrame, moved: Mapping[int, int]) -> pd.DataFrame:
    """Return the rows of the trials that are kept, with their new positions."""
    kept = frame[frame["trial"].isin(list(moved))]
    return kept.assign(trial=kept["trial"].map(moved).astype("int32"))
