from __future__ import annotations

from scripts.bench.perf import place, read_script

SHOWN = """\
courier: sender    4896 
\tffffffff8168d9f6 refill_stock ([kernel.kallsyms])
\tffffffff81e32268 __sys_recvmsg ([kernel.kallsyms])
\tffffffff821ef691 do_syscall_64 ([kernel.kallsyms])
\t    7fe8a38a676e __syscall_cancel_arch (/usr/lib/x86_64-linux-gnu/libc.so.6)

courier: audito    4889 
\t    7fe8a3c558db _PyEval_EvalFrameDefault (/usr/lib/libpython3.11.so.1.0)
\t      530a260291 [unknown] ([unknown])

courier: sender    4896 
\t    7fe8a3c558db [unknown] (/x/site-packages/uvloop/loop.cpython-311-x86_64-linux-gnu.so)

courier: sender    4896 
\tffffffff815e705c do_fault ([kernel.kallsyms])
\tffffffff821f51c6 exc_page_fault ([kernel.kallsyms])

courier: sender    4896 
\tffffffff81417494 exit_to_user_mode_loop ([kernel.kallsyms])
\tffffffff821ef691 do_syscall_64 ([kernel.kallsyms])
"""  # noqa: W291 (as perf writes it)


def test_samples_are_placed_by_system_call_and_by_library() -> None:
    samples = list(read_script(SHOWN))
    assert [sample.pid for sample in samples] == [4896, 4889, 4896, 4896, 4896]
    assert [place(sample) for sample in samples] == [
        "kernel: recvmsg",
        "user: libpython3",
        "user: uvloop",
        "kernel: page faults",
        "kernel: scheduling, signals",
    ]


def test_nothing_is_read_from_nothing() -> None:
    assert list(read_script("")) == []
