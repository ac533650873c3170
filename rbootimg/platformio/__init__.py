"""PlatformIO: the script that a project's platformio.ini names, and what adds it there."""
