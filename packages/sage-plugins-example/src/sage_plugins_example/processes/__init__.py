"""The backend ``processes``: the tasks of a job in worker processes of this machine.

What each module is about, in the order in which a job passes::

    backend     the hook, the options, what is offered
    placement   which task runs in which worker, and which channels cross
    deployment  in the job's process: starts the workers, hears them, finds those that are lost
    workers     how one of them is started, whether it lives, how it has ended
    orders      what the job's process and a worker say to each other
    worker      in a worker: opens the package, runs a host, ends in good order
    links       a channel between two workers: credits one way, messages the other
    line        a socket that frames go through, never blocking who sends
    slabs       memory that two processes share, for what is large
    logs        what is logged in a worker, handled in the job's process
    loop        one thread that reads and writes all lines of a process

All of it is made of what `sage.core.backends.api` offers to anybody.
"""
