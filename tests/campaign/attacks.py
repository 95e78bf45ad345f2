"""The attacks of the campaign: a new one is a module in this folder and a row here."""

from __future__ import annotations

from tests.campaign import calls
from tests.campaign.attack import Attack

ATTACKS: tuple[Attack, ...] = (calls.ATTACK,)
BY_NAME = {attack.name: attack for attack in ATTACKS}
