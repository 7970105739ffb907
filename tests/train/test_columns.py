from unrolled.train.columns import BY_NAME, clock


def test_time_is_written_as_a_clock() -> None:
    assert [clock(s) for s in (0, 9.6, 75, 3700)] == ["0:00", "0:10", "1:15", "1:01:40"]


def test_shares_are_written_in_percent_and_large_numbers_with_commas() -> None:
    accuracy, parameters, memory = (BY_NAME[name] for name in ("test_accuracy", "parameters", "peak_memory_mb"))
    assert (accuracy.title, accuracy.text(0.81249), accuracy.text_with_unit(0.5)) == ("test acc %", "81.25", "50.00 %")
    assert (parameters.title, parameters.text_with_unit(1234567)) == ("parameters", "1,234,567")
    assert (memory.title, memory.text_with_unit(812.3), memory.text_with_unit(None)) == ("memory MiB", "812 MiB", "-")
