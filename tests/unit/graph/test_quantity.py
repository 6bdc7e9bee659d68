import pytest

from partita.errors import BadDocument
from partita.graph import parse_rate, parse_seconds, parse_size, print_rate, print_seconds, print_size


def test_rates_are_bits_per_second() -> None:
    """All usual spellings of 20 Mbit/s agree."""
    assert parse_rate("20mbit") == parse_rate("20 Mbps") == parse_rate("20000kbit/s") == 2e7


def test_times_and_sizes_have_units() -> None:
    """A number without a unit is refused rather than guessed."""
    assert parse_seconds("40ms") == pytest.approx(0.04)
    assert parse_size("6mb") == 6_000_000
    assert parse_size("512MiB") == 512 * 1024**2
    with pytest.raises(BadDocument, match="write it like 40ms"):
        parse_seconds("40")


def test_what_is_printed_is_read_back() -> None:
    """Printing chooses the largest fitting unit."""
    assert [print_rate(2e7), print_rate(1.5e9), print_rate(12.0), print_rate(0.5)] == [
        "20mbit",
        "1.5gbit",
        "12bit",
        "0.5bit",
    ]
    assert [print_seconds(0.04), print_seconds(2.0), print_seconds(0.0)] == ["40ms", "2s", "0ms"]
    assert [print_size(12), print_size(6_290_000), print_size(2e9)] == ["12 B", "6.29 MB", "2 GB"]
