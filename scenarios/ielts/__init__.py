"""The built-in scenario: an IELTS learning platform of five services."""
