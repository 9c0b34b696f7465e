"""What both ends of a line share: frames, messages, channels, the scoreboard, and how items become bytes."""
