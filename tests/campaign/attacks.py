"""The attacks of the campaign: a new one is a module in this folder and a row here."""

from __future__ import annotations

from tests.campaign import calls, ceilings, company, damaged, forks, full_disk, hostile, interrupts, kills, starved, verdicts
from tests.campaign.attack import Attack

ATTACKS: tuple[Attack, ...] = (
    calls.ATTACK, company.ATTACK, verdicts.ATTACK, ceilings.ATTACK, damaged.ATTACK, hostile.ATTACK,
    kills.ATTACK, full_disk.ATTACK, starved.ATTACK, forks.ATTACK, interrupts.ATTACK,
)  # fmt: skip
BY_NAME = {attack.name: attack for attack in ATTACKS}
