"""The steps of the programme, one module for each of GovStack's step names. They know no HTTP and no screen."""
