"""What tests share: a real daemon as a process, waiting for conditions, finding what is left over."""
