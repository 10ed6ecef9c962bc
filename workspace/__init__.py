"""Measure, search and judge the accuracy cost of FP16 mixed precision in MMDetection models."""
