"""Where to cut: the Plan, and the search for the best one under limits. Pure: standard library and numpy."""

from .codec_option import DEFAULT_CODECS, CodecOption, codec_options
from .crossing import Message, carried, messages
from .draw import draw
from .estimate import Pricing, estimate
from .explain import COLUMNS, Turn, explain, print_table, rows, turns
from .limits import Limits, load_limits
from .lockstep import Wheel, inner_window, lockstep, timeline
from .parts import search_parts
from .placement import Estimate, Hop, Mode, Objective, PlacedPart, Plan, print_plan
from .placement_text import parse_plan
from .platforms import Note, Platform, Prices
from .platforms_page import print_platforms
from .platforms_table import PLATFORMS, pick, platform, platforms
from .platforms_text import load_platforms
from .question import Overhead, Question
from .ranking import Alternative, Ranking
from .replan import Decision, Hysteresis, Move, Offer, Standing, decide, move_cost, moved
from .schedule import Entry, Visit, print_schedule, simulate, steady
from .search import search

__all__ = [
    "COLUMNS",
    "DEFAULT_CODECS",
    "PLATFORMS",
    "Alternative",
    "CodecOption",
    "Decision",
    "Entry",
    "Estimate",
    "Hop",
    "Hysteresis",
    "Limits",
    "Message",
    "Mode",
    "Move",
    "Note",
    "Objective",
    "Offer",
    "Overhead",
    "PlacedPart",
    "Plan",
    "Platform",
    "Prices",
    "Pricing",
    "Question",
    "Ranking",
    "Standing",
    "Turn",
    "Visit",
    "Wheel",
    "carried",
    "codec_options",
    "decide",
    "draw",
    "estimate",
    "explain",
    "inner_window",
    "load_limits",
    "load_platforms",
    "lockstep",
    "messages",
    "move_cost",
    "moved",
    "parse_plan",
    "pick",
    "platform",
    "platforms",
    "print_plan",
    "print_platforms",
    "print_schedule",
    "print_table",
    "rows",
    "search",
    "search_parts",
    "simulate",
    "steady",
    "timeline",
    "turns",
]
