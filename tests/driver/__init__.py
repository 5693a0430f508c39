"""Our device code against drivers of the Linux kernel. These tests load modules and pull devices away, so they run in the guest alone."""
