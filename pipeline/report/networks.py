"""The part of the page where a person looks at one network of the front after the other."""

from html import escape
from typing import Any

from pipeline.gate.units import amount
from pipeline.report.data import Networks, Pickable
from pipeline.report.html import json_in_html


def picker(networks: Networks | None, chosen: str) -> str:
    """The list to choose from, which begins with the network called `chosen`, and the place where it is shown."""
    if networks is None or not networks.networks:
        return ""
    offered = [
        (place, network)
        for place, network in enumerate(networks.networks)
        if network.on_front or network.name == chosen
    ]
    options = "".join(
        f'<option value="{place}"{" selected" if network.name == chosen else ""}>'
        f"{escape(_title(network, chosen))}</option>"
        for place, network in offered
    )
    return (
        '<div class="pick"><div class="choose"><label for="pick-network">Look at a network</label>'
        f'<select id="pick-network">{options}</select></div>'
        '<p class="note">Choose one here, or click a point of the plot.</p>'
        '<div id="pick-shown" aria-live="polite"></div></div>'
        f'<script type="application/json" id="networks">{json_in_html(_document(networks, chosen))}</script>'
    )


def _document(networks: Networks, chosen: str) -> dict[str, Any]:
    """What the page's script reads."""
    return {
        "kinds": [[kind.label, kind.ms] for kind in networks.kinds],
        "fixed_ms": networks.fixed_ms,
        "networks": [
            {
                "name": network.name,
                "title": _title(network, chosen),
                "figures": _figures(network),
                "latency_ms": network.latency_ms,
                "accuracy": network.accuracy,
                "blocks": network.blocks,
                "command": network.command,
            }
            for network in networks.networks
        ],
    }


def _title(network: Pickable, chosen: str) -> str:
    which = "the winner" if network.name == chosen else "of the front" if network.on_front else "another one"
    return f"{network.latency_ms:.3g} ms, {network.accuracy:.1%}: {which}"


def _figures(network: Pickable) -> str:
    return (
        f"{network.latency_ms:.4g} ms predicted, {network.accuracy:.2%} {network.how}, "
        f"{amount('macs', network.macs)}, {amount('params', network.params)}"
    )
