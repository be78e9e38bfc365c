"""(described when built)"""
