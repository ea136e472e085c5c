"""Rules for what will be needed: tokens, compute, ops, teams, hardware, and who signed for it."""
