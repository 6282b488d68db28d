"""Which pre-trained model should I fine-tune for my task, how sure are we, how much data, and what will it cost?"""
