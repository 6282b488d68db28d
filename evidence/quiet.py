"""One thread and no chatter, for measurements that take processor time."""


def one_quiet_thread() -> None:
    """Make this process compute with one thread and keep the progress and advice of transformers to itself."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
