from __future__ import annotations

from scripts.bench.syscalls import read_summary

SUMMARY = """\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 61.10    0.120000          12     10000       300 recvmsg
 38.90    0.076412           7     10002           write
------ ----------- ----------- --------- --------- ----------------
100.00    0.196412           9     20002       300 total
"""


def test_the_calls_of_a_summary_are_read_and_its_total_left_out() -> None:
    assert read_summary(SUMMARY) == {"recvmsg": 10000, "write": 10002}
