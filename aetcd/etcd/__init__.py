"""etcd: v2 and v3, each whole, and what the facade needs of either."""
