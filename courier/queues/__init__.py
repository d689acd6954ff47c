"""Several queues in one program: one supervisor with its workers for each ``[[queue]]`` table, under a first process.

    courier: supervisor      the first process: starts, watches, restarts and drains the others; takes the signals
      courier: api 0         the API of all queues; reads the board of each
      courier: watcher 0     with --watch-termination, asks whether the machine ends, for all queues
      courier: NAME          the supervisor of a queue: that of a program of one queue, which takes orders from its line
        courier: NAME consumer 0, courier: NAME sender 0, …

Nothing of one queue is another's: processes, channels, audit directory, breaker and configuration are its own. What
they share is the first process, which touches neither queue, recipient nor disk, and the API, which only reads.

What outlives a queue's processes is made by the first process before it forks any of them: a
:class:`courier.queues.served.ServedQueue` has the board and what else the API reads. The API is made of all of them by
the function that :func:`courier.queues.program.run_queues` gets as ``make_api``; when a reload adds or removes a table,
a new API takes the place of the old one. Requests to a queue's supervisor go over its line
(:mod:`courier.process.orders`), where they meet the acts of a program of one queue.

The seams: ``ServedQueue.observed()`` is what the API of a program of one queue observes, so its app works unchanged for
one queue of several; ``make_api`` in :mod:`courier.queues.options` gets all of them.
:class:`courier.queues.acts.QueueActs` is the table of acts of the control socket: an act with ``queue`` is about that
queue, and without one about all.
"""
