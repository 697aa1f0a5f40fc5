"""python -m training.report"""

from .page import main

main(prog_name='python -m training.report')
