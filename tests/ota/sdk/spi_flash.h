#ifndef SPI_FLASH_H
#define SPI_FLASH_H
#include "c_types.h"
typedef enum { SPI_FLASH_RESULT_OK, SPI_FLASH_RESULT_ERR, SPI_FLASH_RESULT_TIMEOUT } SpiFlashOpResult;
SpiFlashOpResult spi_flash_erase_sector(uint16 sector);
SpiFlashOpResult spi_flash_write(uint32 to, uint32 *from, uint32 size);
SpiFlashOpResult spi_flash_read(uint32 from, uint32 *to, uint32 size);
#endif
