"""What differs beyond noise: best sets, ranks, agreement of rankings, moved numbers."""
