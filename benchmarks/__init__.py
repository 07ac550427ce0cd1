"""
Benchmarks: ratios beside the goals.

Machines are shared and noisy, so nothing here is a verdict: contenders run in turn (A B C, C B A, …), each as a process
of its own with the server in another, and what is compared is CPU per message within a round. `make bench` runs all;
`python -m benchmarks NAME` one.
"""
