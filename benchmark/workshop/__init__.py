"""What makes or examines the product: pre-training, icons, replay, speed, exam, scaffold."""
